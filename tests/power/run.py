#!/usr/bin/env python3
"""Power-cut test: run a program on a disk that forgets what was not synced, cut the power, look what is left.

    tests/power/run.py BINARY --mode store   --cycles 2000     BINARY = target/*/examples/power_store
    tests/power/run.py BINARY --mode sled    --cycles 1000     the facts store alone; sled-raw: without our syncs
    tests/power/run.py BINARY --mode server  --cycles 200      BINARY = target/*/highwater

Each cycle runs BINARY under lossy_disk.c until a random operation at which the power fails, then without it, and checks:
everything acknowledged is there, nothing is there twice, nothing is there that was not asked for, it opens. Several
cycles share a directory, so damage may also show later. Exit status 1 if anything was lost or refused.

With --lie the disk lies about fsync, and the test must find losses: that it can is checked before it is believed.
Losses (--loss): all, sector, data, kill (see lossy_disk.c), mix; --faults injects EIO and ENOSPC before the cut.
"""

import argparse, json, os, random, shutil, signal, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
CUT = (137, 134, -signal.SIGABRT)


class Lost(Exception):
    """The program broke a promise."""


def build_shim(scratch):
    shim = scratch / 'lossy_disk.so'
    source = HERE / 'lossy_disk.c'
    subprocess.run(['cc', '-shared', '-fPIC', '-O2', '-o', shim, source, '-ldl', '-lpthread'], check=True)
    return shim


class Disk:
    """Environment of one power cut."""

    def __init__(self, args, scratch, shim):
        self.args, self.shim = args, shim
        self.undo = scratch / 'undo'
        self.undo.mkdir()

    def environment(self, rng, directory, operations_max):
        loss = self.args.loss if self.args.loss != 'mix' else rng.choice(['all', 'sector', 'sector', 'data', 'kill'])
        # Every fourth cut comes early: while the program recovers from the one before.
        crash_at = rng.randrange(1, 60) if rng.random() < 0.25 else rng.randrange(1, operations_max)
        env = dict(os.environ, LD_PRELOAD=str(self.shim), POWER_DIR=str(directory), POWER_UNDO=str(self.undo),
                   POWER_LOSS=loss, POWER_SEED=str(rng.randrange(1, 1 << 30)), POWER_CRASH_AT=str(crash_at),
                   POWER_SECTOR=str(rng.choice([512, 4096])), RUST_BACKTRACE='0')
        if self.args.lie:
            env['POWER_LIE'] = '1'
        if self.args.faults:
            errno = rng.choice([5, 28])
            first = rng.randrange(1, crash_at + 1)
            env.update(POWER_FAIL_AT=str(first), POWER_FAIL_ERRNO=str(errno), POWER_FAIL_COUNT=str(rng.choice([1, 1, 5, 40])))
        return env, f'{loss} at {crash_at}'

    def clear(self):
        for leftover in self.undo.iterdir():
            leftover.unlink()


class StoreTarget:
    """The DurableStore under inserts, deletes, DDL, checkpoints and compaction."""
    kind = 'store'
    operations_max = 900

    def __init__(self, args, directory):
        self.args, self.directory = args, directory
        self.rows, self.gone, self.doubtful, self.facts, self.epoch = set(), set(), set(), {}, 0
        self.counts = {'acknowledged': 0, 'facts_replaced': 0, 'facts_behind': 0}

    def spawn(self, command, env, timeout):
        try:
            return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Lost(f'hangs: {" ".join(map(str, command[1:3]))}')

    def run(self, env, seed):
        done = self.spawn([self.args.binary, 'run', self.kind, self.directory, str(seed), '60'], env, 60)
        for line in done.stdout.decode().splitlines():
            if line.startswith('FAIL'):
                if self.args.faults and ('no space left' in line or 'os error 5' in line or 'journal has stopped' in line):
                    continue
                raise Lost(f'while running: {line}')
            self.acknowledge(line.split())
        if done.returncode not in CUT + (0,) and not (self.args.faults and done.returncode == 1):
            raise Lost(f'ended with status {done.returncode}: {done.stderr.decode()[-400:]}')
        return done.returncode != 0

    def acknowledge(self, words):
        self.counts['acknowledged'] += words[0] in ('row', 'gone', 'fact', 'checkpoint', 'n')
        match words:
            case ['row', row]: self.rows.add(int(row))
            case ['deleting', row]: self.doubtful.add(int(row))
            case ['gone', row]: self.gone.add(int(row))
            case ['fact', key, value]: self.facts[int(key)] = int(value)
            case ['checkpoint', epoch]: self.epoch = int(epoch)

    def verify(self):
        done = self.spawn([self.args.binary, 'verify', self.kind, self.directory], None, 60)
        lines = done.stdout.decode().splitlines()
        if not lines or lines[-1] != 'OK':
            raise Lost(f'after the cut: {lines[-1] if lines else ""} {done.stderr.decode()[-400:]}')
        return [line.split() for line in lines]

    def check(self):
        rows, facts, kept, epoch = set(), {}, {}, 0
        for words in self.verify():
            match words:
                case ['row', row]: rows.add(int(row))
                case ['fact', key, value]: facts[int(key)] = int(value)
                case ['kept', key, value]: kept[int(key)] = int(value)
                case ['checkpoint', number]: epoch = int(number)
                case ['facts', 'replaced', *reason]: self.counts['facts_replaced'] += 1; kept = None
        missing = self.rows - self.gone - self.doubtful - rows
        if missing:
            raise Lost(f'{len(missing)} acknowledged rows, first {min(missing)}')
        if rows & self.gone:
            raise Lost(f'deleted row {min(rows & self.gone)} is back')
        behind = [key for key, value in self.facts.items() if facts.get(key, 0) < value]
        if behind:
            raise Lost(f'{len(behind)} acknowledged facts, first {behind[0]}')
        if epoch < self.epoch:
            raise Lost(f'checkpoint {self.epoch}, the newest is {epoch}')
        if kept is not None and any(kept.get(key, 0) < value for key, value in self.facts.items()):
            self.counts['facts_behind'] += 1
        # What was seen once must stay.
        self.rows, self.gone, self.doubtful, self.facts, self.epoch = rows, set(), set(), facts, epoch


class SledTarget(StoreTarget):
    """The facts store alone."""
    operations_max = 500

    def __init__(self, args, directory):
        super().__init__(args, directory)
        self.kind, self.last = args.mode, 0

    def acknowledge(self, words):
        super().acknowledge(words)
        if words[0] == 'n':
            self.last = int(words[1])

    def check(self):
        last = int(next(words[1] for words in self.verify() if words[0] == 'n'))
        if last < self.last:
            raise Lost(f'{self.last - last} acknowledged commits of {self.last}')
        self.last = last


def target(args, directory):
    if args.mode == 'store':
        return StoreTarget(args, directory)
    if args.mode == 'server':
        from server_target import ServerTarget
        return ServerTarget(args, directory, Lost)
    return SledTarget(args, directory)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('binary', type=lambda text: str(Path(text).resolve()))
    parser.add_argument('--mode', choices=['store', 'sled', 'sled-raw', 'server'], default='store')
    parser.add_argument('--cycles', type=int, default=100)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--loss', choices=['all', 'sector', 'data', 'kill', 'mix'], default='mix')
    parser.add_argument('--faults', action='store_true')
    parser.add_argument('--lie', action='store_true', help='a disk whose fsync does nothing: losses must be found')
    parser.add_argument('--per-directory', type=int, default=8, help='cycles before a new directory')
    parser.add_argument('--keep', type=Path, help='where to keep the directory of the first failure')
    parser.add_argument('--serve-args', default='', help='more arguments for the server')
    args = parser.parse_args()
    rng = random.Random(args.seed)
    shared_memory = Path('/dev/shm')
    scratch = Path(tempfile.mkdtemp(prefix='power-', dir=shared_memory if shared_memory.is_dir() else None))
    result = {'mode': args.mode, 'loss': args.loss, 'seed': args.seed, 'cycles': 0, 'cuts': 0, 'failures': 0}
    started, examples, subject = time.time(), [], None
    try:
        disk = Disk(args, scratch, build_shim(scratch))
        while result['cycles'] < args.cycles:
            if subject is None or result['cycles'] % args.per_directory == 0:
                if subject:
                    add_counts(result, subject)
                    shutil.rmtree(subject.directory, ignore_errors=True)
                directory = scratch / f'data-{result["cycles"]}'
                directory.mkdir(mode=0o700)
                subject = target(args, directory)
            env, what = disk.environment(rng, subject.directory, subject.operations_max)
            result['cycles'] += 1
            try:
                result['cuts'] += subject.run(env, rng.randrange(1, 1 << 30))
                disk.clear()
                subject.check()
            except Lost as loss:
                result['failures'] += 1
                if len(examples) < 5:
                    examples.append(f'cycle {result["cycles"]}, {what}: {loss}')
                if args.keep and not args.keep.exists():
                    shutil.copytree(subject.directory, args.keep)
                add_counts(result, subject)
                shutil.rmtree(subject.directory, ignore_errors=True)
                subject = None
        if subject:
            add_counts(result, subject)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result['seconds'] = round(time.time() - started)
    result['examples'] = examples
    print(json.dumps(result, indent=1))
    if result['cuts'] * 2 < result['cycles'] or not result['acknowledged']:
        sys.exit('vacuous: too few power cuts or acknowledgements')
    sys.exit(1 if bool(result['failures']) != args.lie else 0)


def add_counts(result, subject):
    for name, count in subject.counts.items():
        result[name] = result.get(name, 0) + count
    subject.counts = dict.fromkeys(subject.counts, 0)


if __name__ == '__main__':
    main()
