"""The server under test of the power-cut kit: INSERT and DDL over the wire until the power fails, then a restart.

Rows of one table are read back directly and through two views, which must agree with it. What was acknowledged must be
there, what was never sent must not, nothing twice; an acknowledged CREATE exists, an acknowledged DROP is gone.
"""

import os, random, shlex, signal, socket, struct, subprocess, threading, time

TRANSIENT = ('53100', '57P01', '57P03', '58030')


class Refused(Exception):
    """An error answer: (sqlstate, message)."""


class Client:
    """The simple query protocol, text results."""

    def __init__(self, port, timeout=30):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=timeout)
        self.buffer = self.socket.makefile('rb')
        body = struct.pack('!i', 196608) + b'user\0highwater\0database\0highwater\0\0'
        self.socket.sendall(struct.pack('!i', len(body) + 4) + body)
        self.until_ready()

    def query(self, sql):
        body = sql.encode() + b'\0'
        self.socket.sendall(b'Q' + struct.pack('!i', len(body) + 4) + body)
        return self.until_ready()

    def until_ready(self):
        rows, error = [], None
        while True:
            head = self.read(5)
            kind, body = head[:1], self.read(struct.unpack('!i', head[1:])[0] - 4)
            if kind == b'D':
                rows.append(self.row(body))
            elif kind == b'E':
                fields = {part[:1]: part[1:].decode() for part in body.split(b'\0') if part}
                error = Refused(fields.get(b'C', ''), fields.get(b'M', ''))
            elif kind == b'Z':
                if error:
                    raise error
                return rows

    def read(self, n):
        data = self.buffer.read(n)
        if len(data) < n:
            raise ConnectionError('closed')
        return data

    def row(self, body):
        values, at = [], 2
        for _ in range(struct.unpack('!h', body[:2])[0]):
            length = struct.unpack('!i', body[at:at + 4])[0]
            at += 4
            values.append(None if length < 0 else body[at:at + length].decode())
            at += max(length, 0)
        return values

    def close(self):
        self.buffer.close()
        self.socket.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class ServerTarget:
    operations_max = 1500
    START_S, WORK_S = 60, 60

    def __init__(self, args, directory, lost):
        self.args, self.directory, self.lost = args, directory, lost
        self.attempted, self.acknowledged, self.next_id = set(), set(), 1
        # Name → True (exists), False (gone) or None (either).
        self.objects = {}
        self.set_up = False
        self.lock = threading.Lock()
        self.counts = {'acknowledged': 0, 'ddl': 0, 'starts': 0}

    def serve(self, env):
        self.port = free_port()
        log = open(self.directory.parent / 'server.log', 'wb')
        command = [self.args.binary, 'serve', '--data-dir', self.directory, '--listen', f'127.0.0.1:{self.port}',
                   '--http', 'off', '--checkpoint-interval', '100ms', *shlex.split(self.args.serve_args)]
        return subprocess.Popen(command, stdout=log, stderr=log, env=env, cwd=self.directory.parent)

    def log(self):
        return (self.directory.parent / 'server.log').read_text(errors='replace')[-1500:]

    def connect(self, server):
        """A client, or None if the server has ended."""
        deadline = time.time() + self.START_S
        while time.time() < deadline:
            if server.poll() is not None:
                return None
            try:
                return Client(self.port)
            except (OSError, Refused):
                time.sleep(0.02)
        server.kill()
        raise self.lost(f'does not start within {self.START_S} s: {self.log()}')

    def run(self, env, seed):
        server = self.serve(env)
        rng = random.Random(seed)
        try:
            client = self.connect(server)
            if client:
                client.close()
                work = [threading.Thread(target=self.guarded, args=(server, job, rng.random()))
                        for job in (self.insert, self.insert, self.ddl)]
                [thread.start() for thread in work]
                try:
                    server.wait(self.WORK_S)
                except subprocess.TimeoutExpired:
                    server.kill()
                [thread.join() for thread in work]
        finally:
            if server.poll() is None:
                server.kill()
            server.wait()
        if server.returncode not in (137, 134, -signal.SIGABRT, -signal.SIGKILL):
            raise self.lost(f'ended with status {server.returncode}: {self.log()}')
        return server.returncode != -signal.SIGKILL

    def guarded(self, server, job, seed):
        rng = random.Random(seed)
        client = None
        while server.poll() is None:
            try:
                client = client or Client(self.port)
                job(client, rng)
            except (OSError, ValueError):
                client = None
                time.sleep(0.02)
            except Refused as error:
                if error.args[0] not in TRANSIENT + ('42P01', '42P07', '2BP01'):
                    with self.lock:
                        self.objects.setdefault('errors', []).append(error.args)

    def insert(self, client, rng):
        if not self.set_up:
            time.sleep(0.01)
            return
        with self.lock:
            ids = list(range(self.next_id, self.next_id + rng.choice([1, 1, 3, 20])))
            self.next_id = ids[-1] + 1
            self.attempted.update(ids)
        text = 'x' * rng.choice([1, 30, 2000])
        client.query('INSERT INTO t VALUES ' + ', '.join(f"({i}, '{text}')" for i in ids))
        with self.lock:
            self.acknowledged.update(ids)
            self.counts['acknowledged'] += len(ids)

    def ddl(self, client, rng):
        if not self.set_up:
            client.query('CREATE TABLE IF NOT EXISTS t (id BIGINT, v TEXT)')
            for name, query in (('totals', 'SELECT count(*) AS n, sum(id) AS s FROM t'),
                                ('buckets', 'SELECT id % 10 AS b, count(*) AS n FROM t GROUP BY id % 10')):
                try:
                    client.query(f'CREATE MATERIALIZED VIEW {name} AS {query}')
                except Refused as error:
                    if error.args[0] != '42P07':
                        raise
            self.set_up = True
            return
        k = rng.randrange(6)
        name, kind = (f'd{k}', 'TABLE') if k % 2 else (f'v{k}', 'MATERIALIZED VIEW')
        exists = self.objects.get(name, False)
        self.objects[name] = None
        try:
            if exists or exists is None and rng.random() < 0.5:
                client.query(f'DROP {kind} {name}')
                self.objects[name] = False
            else:
                body = '(x INT)' if k % 2 else 'AS SELECT max(id) AS m FROM t'
                client.query(f'CREATE {kind} {name} {body}')
                self.objects[name] = True
            self.counts['ddl'] += 1
        except Refused as error:
            if error.args[0] == '42P07':
                self.objects[name] = True
            elif error.args[0] == '42P01':
                self.objects[name] = False
            else:
                raise
        time.sleep(0.01)

    def check(self):
        errors = self.objects.pop('errors', [])
        if errors:
            raise self.lost(f'{len(errors)} unexpected errors, first {errors[0]}')
        server = self.serve(dict(os.environ))
        try:
            client = self.connect(server)
            if client is None:
                raise self.lost(f'refuses to start after the cut: {self.log()}')
            self.counts['starts'] += 1
            self.compare(client)
            client.close()
        except (Refused, OSError) as error:
            raise self.lost(f'after the cut: {error.args}: {self.log()}')
        finally:
            # Sometimes an orderly end, sometimes a kill right after recovery.
            server.send_signal(random.choice([signal.SIGTERM, signal.SIGKILL]))
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def compare(self, client):
        try:
            ids = [int(row[0]) for row in client.query('SELECT id FROM t')]
        except Refused as error:
            if error.args[0] == '42P01' and not self.set_up:
                return
            raise
        present = set(ids)
        if len(present) != len(ids):
            raise self.lost(f'{len(ids) - len(present)} rows are there twice')
        if self.acknowledged - present:
            missing = self.acknowledged - present
            raise self.lost(f'{len(missing)} acknowledged rows, first {min(missing)}')
        if present - self.attempted:
            raise self.lost(f'row {min(present - self.attempted)} was never sent')
        if self.set_up:
            self.compare_views(client, present)
        for name, exists in self.objects.items():
            try:
                client.query(f'SELECT * FROM {name}')
                found = True
            except Refused as error:
                if error.args[0] != '42P01':
                    raise
                found = False
            if exists is not None and found != exists:
                raise self.lost(f'{"CREATE" if exists else "DROP"} of {name} was acknowledged')
            self.objects[name] = found
        # What was seen once must stay.
        self.acknowledged = present

    def compare_views(self, client, present):
        count, total = client.query('SELECT n, s FROM totals')[0]
        expected = (str(len(present)), str(sum(present)) if present else None)
        if (count, total) != expected:
            raise self.lost(f'the view says {count} rows, sum {total}; the table {expected}')
        buckets = {int(b): int(n) for b, n in client.query('SELECT b, n FROM buckets')}
        expected = {b: n for b in range(10) if (n := sum(1 for i in present if i % 10 == b))}
        if buckets != expected:
            raise self.lost(f'the grouped view says {buckets}, the table {expected}')
