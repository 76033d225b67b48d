// A disk that forgets: LD_PRELOAD shim that keeps an undo log of everything not yet synced below $POWER_DIR.
//
// At operation $POWER_CRASH_AT the power fails: what no fsync has made durable is taken back and the process ends with
// status 137. Tracked: write, pwrite, writev, pwritev, truncation, O_TRUNC, fallocate, and the directory operations
// create, rename, unlink, mkdir, rmdir, which only an fsync of their directory makes durable.
//
// $POWER_LOSS   all     everything unsynced is lost
//               sector  each sector of unsynced data is lost or kept at random; of the directory operations a random
//                       number of the newest is lost
//               data    unsynced data is lost, directory operations are durable at once
//               kill    nothing is lost: the process is killed, the machine stays up
// $POWER_SECTOR 512 or 4096; $POWER_SEED; $POWER_UNDO a directory on the same file system for backups
// $POWER_FAIL_AT, $POWER_FAIL_COUNT, $POWER_FAIL_ERRNO: operations that fail instead. A failed fsync drops the data
// for good, as kernels do: a later fsync succeeds without it.
// $POWER_LIE: fsync reports success and does nothing; losses must then be found, or the test proves nothing.
// sync_file_range does not count as a sync. Shared writable mappings are refused: they could not be tracked.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define RAW(name, ...) syscall(SYS_##name, __VA_ARGS__)

enum kind { WRITE, RESIZE, CREATE, RENAME, UNLINK, MKDIR, RMDIR };
enum loss { ALL, SECTOR, DATA, KILL };

// One thing to take back. Data: file (dev, ino), offset, old bytes, old size. Directory: paths, and the directory
// whose fsync makes it durable.
struct undo {
    struct undo *older;
    enum kind kind;
    dev_t dev;
    ino_t ino;
    off_t offset, old_size;
    size_t length, old_length;
    char *old_bytes;
    int dropped;
    char *path, *from, *backup;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct undo *newest;
static struct { dev_t dev; ino_t ino; int fd; } *kept;
static int kept_count, kept_room;
static char dir[PATH_MAX], undo_dir[PATH_MAX];
static size_t dir_length, sector = 4096;
static long operations, crash_at, fail_at, fail_count, backups;
static int fail_errno, ready, lie;
static enum loss loss;
static unsigned long long random_state;

static long number(const char *name, long otherwise) {
    char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static unsigned random_bits(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state >> 16;
}

__attribute__((constructor)) static void set_up(void) {
    if (ready) return;
    ready = 1;
    char *text = getenv("POWER_DIR");
    if (!text || !realpath(text, dir)) return;
    dir_length = strlen(dir);
    text = getenv("POWER_UNDO");
    if (text && realpath(text, undo_dir) == NULL) undo_dir[0] = 0;
    text = getenv("POWER_LOSS");
    loss = !text || !strcmp(text, "all") ? ALL : !strcmp(text, "sector") ? SECTOR : !strcmp(text, "data") ? DATA : KILL;
    sector = number("POWER_SECTOR", 4096);
    crash_at = number("POWER_CRASH_AT", -1);
    fail_at = number("POWER_FAIL_AT", -1);
    fail_count = number("POWER_FAIL_COUNT", 1);
    fail_errno = number("POWER_FAIL_ERRNO", EIO);
    lie = number("POWER_LIE", 0);
    random_state = number("POWER_SEED", 1) * 0x9E3779B97F4A7C15ull | 1;
    for (int i = 0; i < 8; i++) random_bits();
}

static int below(const char *path) {
    return dir_length && !strncmp(path, dir, dir_length) && (path[dir_length] == '/' || !path[dir_length]);
}

// Whether fd is a file (or directory) below the tracked directory.
static int tracked(int fd, struct stat *st) {
    set_up();
    if (!dir_length) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return below(path) && !fstat(fd, st) && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode));
}

// The absolute path of a name whose directory exists; 0 if it isn't tracked.
static int absolute(int at, const char *name, char *out) {
    set_up();
    if (!dir_length) return 0;
    char full[PATH_MAX], parent[PATH_MAX];
    if (name[0] == '/' || at == AT_FDCWD) {
        snprintf(full, sizeof full, "%s", name);
    } else {
        char link[64], base[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t n = readlink(link, base, sizeof base - 1);
        if (n <= 0) return 0;
        base[n] = 0;
        if (snprintf(full, sizeof full, "%s/%s", base, name) >= (int)sizeof full) return 0;
    }
    size_t n = strlen(full);
    while (n > 1 && full[n - 1] == '/') full[--n] = 0;
    char *slash = strrchr(full, '/');
    const char *last = slash ? slash + 1 : full;
    if (slash == full) snprintf(parent, sizeof parent, "/");
    else if (slash) { *slash = 0; if (!realpath(full, parent)) return 0; }
    else if (!realpath(".", parent)) return 0;
    return snprintf(out, PATH_MAX, "%s/%s", parent, last) < PATH_MAX && below(out);
}

static void parent_of(const char *path, struct stat *st) {
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = 0;
    if (stat(parent, st)) memset(st, 0, sizeof *st);
}

// A descriptor of the file that stays open: for taking back, and so that its inode number is not used again.
static int keep(int fd, const struct stat *st) {
    for (int i = 0; i < kept_count; i++)
        if (kept[i].dev == st->st_dev && kept[i].ino == st->st_ino) return kept[i].fd;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int own = RAW(openat, AT_FDCWD, link, O_RDWR | O_CLOEXEC);
    if (own < 0) own = RAW(fcntl, fd, F_DUPFD_CLOEXEC, 0);
    if (kept_count == kept_room) kept = realloc(kept, sizeof *kept * (kept_room = kept_room * 2 + 64));
    kept[kept_count].dev = st->st_dev;
    kept[kept_count].ino = st->st_ino;
    kept[kept_count++].fd = own;
    return own;
}

static int kept_fd(const struct undo *u) {
    for (int i = 0; i < kept_count; i++)
        if (kept[i].dev == u->dev && kept[i].ino == u->ino) return kept[i].fd;
    return -1;
}

static void put_back(int fd, const char *bytes, size_t have, off_t offset, size_t n) {
    static const char zeros[65536];
    if (have && RAW(pwrite64, fd, bytes, have, offset) < 0) _exit(99);
    for (size_t done = have; done < n;) {
        size_t part = n - done < sizeof zeros ? n - done : sizeof zeros;
        if (RAW(pwrite64, fd, zeros, part, offset + done) < 0) _exit(99);
        done += part;
    }
}

static void take_back_data(struct undo *u) {
    int fd = kept_fd(u);
    if (fd < 0) return;
    int lose_all = loss != SECTOR || u->dropped;
    if (u->kind == RESIZE) {
        if (!lose_all && (random_bits() & 1)) return;
        if (u->old_length) put_back(fd, u->old_bytes, u->old_length, u->offset, u->old_length);
        if (RAW(ftruncate, fd, u->old_size)) _exit(99);
        return;
    }
    int all_lost = 1;
    for (size_t done = 0; done < u->length;) {
        off_t at = u->offset + done;
        size_t n = sector - at % sector;
        if (n > u->length - done) n = u->length - done;
        if (lose_all || (random_bits() & 1)) {
            size_t have = done < u->old_length ? u->old_length - done : 0;
            put_back(fd, u->old_bytes + done, have < n ? have : n, at, n);
        } else {
            all_lost = 0;
        }
        done += n;
    }
    struct stat st;
    off_t end = u->offset + u->length;
    if (all_lost && end > u->old_size && !fstat(fd, &st) && (lose_all || st.st_size == end))
        if (RAW(ftruncate, fd, u->old_size)) _exit(99);
}

static void take_back_name(struct undo *u) {
    switch (u->kind) {
    case CREATE: RAW(unlink, u->path); break;
    case MKDIR: RAW(rmdir, u->path); break;
    case RMDIR: RAW(mkdir, u->path, 0700); break;
    case UNLINK: RAW(rename, u->backup, u->path); break;
    case RENAME:
        RAW(rename, u->path, u->from);
        if (u->backup) RAW(rename, u->backup, u->path);
        break;
    default: break;
    }
}

static void power_failure(void) {
    long undone = 0, names = 0, names_lost;
    for (struct undo *u = newest; u; u = u->older) names += u->kind >= CREATE;
    names_lost = loss == ALL ? names : loss == SECTOR && names ? random_bits() % (names + 1) : 0;
    if (loss != KILL) {
        for (struct undo *u = newest; u; u = u->older, undone++) {
            if (u->kind < CREATE) take_back_data(u);
            else if (names_lost > 0) { names_lost--; take_back_name(u); }
        }
    }
    char text[128];
    int n = snprintf(text, sizeof text, "power failure at operation %ld, %ld undone\n", operations, undone);
    if (RAW(write, 2, text, n) < 0) {}
    RAW(exit_group, 137);
}

// Counts an operation; true if it is to fail.
static int step(void) {
    if (++operations == crash_at) power_failure();
    return fail_at >= 0 && operations >= fail_at && operations < fail_at + fail_count;
}

static struct undo *push(enum kind kind) {
    struct undo *u = calloc(1, sizeof *u);
    u->kind = kind;
    u->older = newest;
    return newest = u;
}

static void push_data(enum kind kind, int fd, const struct stat *st, off_t offset, size_t length) {
    int own = keep(fd, st);
    struct undo *u = push(kind);
    u->dev = st->st_dev, u->ino = st->st_ino, u->offset = offset, u->length = length, u->old_size = st->st_size;
    if (offset < st->st_size && length) {
        size_t n = st->st_size - offset < (off_t)length ? (size_t)(st->st_size - offset) : length;
        u->old_bytes = malloc(n);
        ssize_t got = RAW(pread64, own, u->old_bytes, n, offset);
        u->old_length = got > 0 ? got : 0;
    }
}

static struct undo *push_name(enum kind kind, const char *path) {
    if (loss == DATA) return NULL;
    struct stat parent;
    parent_of(path, &parent);
    struct undo *u = push(kind);
    u->dev = parent.st_dev, u->ino = parent.st_ino, u->path = strdup(path);
    return u;
}

// A second name for a file about to lose this one.
static char *backup(const char *path) {
    char name[PATH_MAX];
    if (!undo_dir[0] || snprintf(name, sizeof name, "%s/%d-%ld", undo_dir, getpid(), backups++) >= PATH_MAX) return NULL;
    return RAW(linkat, AT_FDCWD, path, AT_FDCWD, name, 0) ? NULL : strdup(name);
}

static void forget(struct undo **at) {
    struct undo *u = *at;
    *at = u->older;
    if (u->backup) RAW(unlink, u->backup);
    free(u->old_bytes), free(u->path), free(u->from), free(u->backup), free(u);
}

static void made_durable(const struct stat *st) {
    for (struct undo **at = &newest; *at;) {
        struct undo *u = *at;
        int here = u->dev == st->st_dev && u->ino == st->st_ino && (u->kind >= CREATE) == S_ISDIR(st->st_mode);
        if (here && !u->dropped) forget(at);
        else at = &u->older;
    }
}

static void sync_failed(const struct stat *st) {
    for (struct undo *u = newest; u; u = u->older)
        if (u->dev == st->st_dev && u->ino == st->st_ino && u->kind < CREATE) u->dropped = 1;
}

#define UNLOCK(result) do { long r_ = (result); int e_ = errno; pthread_mutex_unlock(&lock); errno = e_; return r_; } while (0)
#define FAIL_OR_COUNT() do { if (step()) { errno = fail_errno; UNLOCK(-1); } } while (0)

static off_t write_offset(int fd, const struct stat *st) {
    return fcntl(fd, F_GETFL) & O_APPEND ? st->st_size : lseek(fd, 0, SEEK_CUR);
}

// O_SYNC and O_DSYNC writes are durable by themselves.
static void push_write(int fd, struct stat *st, off_t offset, size_t n) {
    if (!(fcntl(fd, F_GETFL) & (O_SYNC | O_DSYNC))) push_data(WRITE, fd, st, offset, n);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    struct stat st;
    if (!tracked(fd, &st)) return RAW(write, fd, bytes, n);
    pthread_mutex_lock(&lock);
    fstat(fd, &st);
    FAIL_OR_COUNT();
    push_write(fd, &st, write_offset(fd, &st), n);
    UNLOCK(RAW(write, fd, bytes, n));
}

static size_t total(const struct iovec *parts, int count) {
    size_t n = 0;
    for (int i = 0; i < count; i++) n += parts[i].iov_len;
    return n;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct stat st;
    if (!tracked(fd, &st)) return RAW(writev, fd, parts, count);
    pthread_mutex_lock(&lock);
    fstat(fd, &st);
    FAIL_OR_COUNT();
    push_write(fd, &st, write_offset(fd, &st), total(parts, count));
    UNLOCK(RAW(writev, fd, parts, count));
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t offset) {
    struct stat st;
    if (!tracked(fd, &st)) return RAW(pwrite64, fd, bytes, n, offset);
    pthread_mutex_lock(&lock);
    fstat(fd, &st);
    FAIL_OR_COUNT();
    push_write(fd, &st, offset, n);
    UNLOCK(RAW(pwrite64, fd, bytes, n, offset));
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) { return pwrite64(fd, bytes, n, offset); }

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
    struct stat st;
    if (!tracked(fd, &st)) return RAW(pwritev, fd, parts, count, offset, 0);
    pthread_mutex_lock(&lock);
    fstat(fd, &st);
    FAIL_OR_COUNT();
    push_write(fd, &st, offset, total(parts, count));
    UNLOCK(RAW(pwritev, fd, parts, count, offset, 0));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

int ftruncate64(int fd, off_t size) {
    struct stat st;
    if (!tracked(fd, &st)) return RAW(ftruncate, fd, size);
    pthread_mutex_lock(&lock);
    fstat(fd, &st);
    FAIL_OR_COUNT();
    off_t from = size < st.st_size ? size : st.st_size;
    push_data(RESIZE, fd, &st, from, st.st_size - from);
    UNLOCK(RAW(ftruncate, fd, size));
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fallocate64(int fd, int mode, off_t offset, off_t n) {
    struct stat st;
    if (!tracked(fd, &st)) return RAW(fallocate, fd, mode, offset, n);
    if (mode & ~FALLOC_FL_KEEP_SIZE) { errno = EOPNOTSUPP; return -1; }
    pthread_mutex_lock(&lock);
    fstat(fd, &st);
    FAIL_OR_COUNT();
    push_data(RESIZE, fd, &st, st.st_size, 0);
    UNLOCK(RAW(fallocate, fd, mode, offset, n));
}
int fallocate(int fd, int mode, off_t offset, off_t n) { return fallocate64(fd, mode, offset, n); }
int posix_fallocate64(int fd, off_t offset, off_t n) { return fallocate64(fd, 0, offset, n) ? errno : 0; }
int posix_fallocate(int fd, off_t offset, off_t n) { return posix_fallocate64(fd, offset, n); }

// The tracked files need no real sync: what counts is the undo log.
int fsync(int fd) {
    struct stat st;
    if (!tracked(fd, &st)) return RAW(fsync, fd);
    pthread_mutex_lock(&lock);
    if (step()) {
        sync_failed(&st);
        errno = EIO;
        UNLOCK(-1);
    }
    if (!lie) made_durable(&st);
    UNLOCK(0);
}
int fdatasync(int fd) { return fsync(fd); }

int sync_file_range(int fd, off_t offset, off_t n, unsigned flags) {
    struct stat st;
    if (!tracked(fd, &st)) return RAW(sync_file_range, fd, offset, n, flags);
    pthread_mutex_lock(&lock);
    FAIL_OR_COUNT();
    UNLOCK(0);
}

// Callers fall back to plain writes, which are tracked.
ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t n, unsigned flags) {
    struct stat st;
    if (tracked(out, &st)) { errno = ENOSYS; return -1; }
    return RAW(copy_file_range, in, in_at, out, out_at, n, flags);
}
ssize_t sendfile64(int out, int in, off_t *at, size_t n) {
    struct stat st;
    if (tracked(out, &st)) { errno = ENOSYS; return -1; }
    return RAW(sendfile, out, in, at, n);
}
ssize_t sendfile(int out, int in, off_t *at, size_t n) { return sendfile64(out, in, at, n); }

void *mmap64(void *where, size_t n, int access, int flags, int fd, off_t offset) {
    struct stat st;
    if (fd >= 0 && (flags & MAP_SHARED) && (access & PROT_WRITE) && tracked(fd, &st)) { errno = EACCES; return MAP_FAILED; }
    return (void *)RAW(mmap, where, n, access, flags, fd, offset);
}
void *mmap(void *where, size_t n, int access, int flags, int fd, off_t offset) { return mmap64(where, n, access, flags, fd, offset); }

static int open_at(int at, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !absolute(at, name, path))
        return RAW(openat, at, name, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat st;
    int existed = !stat(path, &st);
    if (existed && !(flags & O_TRUNC)) UNLOCK(RAW(openat, at, name, flags, mode));
    FAIL_OR_COUNT();
    if (existed && S_ISREG(st.st_mode) && st.st_size) {
        int before = RAW(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        if (before >= 0) {
            push_data(RESIZE, before, &st, 0, st.st_size);
            close(before);
        }
    }
    int fd = RAW(openat, at, name, flags, mode);
    if (fd >= 0 && !existed) push_name(CREATE, path);
    UNLOCK(fd);
}

#define MODE_OF(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); mode = va_arg(a, mode_t); va_end(a); }
int open(const char *name, int flags, ...) { MODE_OF(flags) return open_at(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE_OF(flags) return open_at(AT_FDCWD, name, flags, mode); }
int openat(int at, const char *name, int flags, ...) { MODE_OF(flags) return open_at(at, name, flags, mode); }
int openat64(int at, const char *name, int flags, ...) { MODE_OF(flags) return open_at(at, name, flags, mode); }
int creat(const char *name, mode_t mode) { return open_at(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return creat(name, mode); }

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char from_path[PATH_MAX], to_path[PATH_MAX];
    if (!absolute(from_at, from, from_path) || !absolute(to_at, to, to_path))
        return RAW(renameat2, from_at, from, to_at, to, flags);
    pthread_mutex_lock(&lock);
    FAIL_OR_COUNT();
    struct stat st;
    char *old = loss != DATA && !stat(to_path, &st) && S_ISREG(st.st_mode) ? backup(to_path) : NULL;
    int result = RAW(renameat2, from_at, from, to_at, to, flags);
    struct undo *u = result ? NULL : push_name(RENAME, to_path);
    if (u) u->from = strdup(from_path), u->backup = old;
    UNLOCK(result);
}
int renameat(int from_at, const char *from, int to_at, const char *to) { return renameat2(from_at, from, to_at, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int at, const char *name, int flags) {
    char path[PATH_MAX];
    if (!absolute(at, name, path)) return RAW(unlinkat, at, name, flags);
    pthread_mutex_lock(&lock);
    FAIL_OR_COUNT();
    char *old = loss == DATA || flags & AT_REMOVEDIR ? NULL : backup(path);
    int result = RAW(unlinkat, at, name, flags);
    if (result && old) RAW(unlink, old);
    struct undo *u = result ? NULL : push_name(flags & AT_REMOVEDIR ? RMDIR : UNLINK, path);
    if (u) u->backup = old;
    UNLOCK(result);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char *name) { return unlink(name) && errno == EISDIR ? rmdir(name) : 0; }

int mkdirat(int at, const char *name, mode_t mode) {
    char path[PATH_MAX];
    if (!absolute(at, name, path)) return RAW(mkdirat, at, name, mode);
    pthread_mutex_lock(&lock);
    FAIL_OR_COUNT();
    int result = RAW(mkdirat, at, name, mode);
    if (!result) push_name(MKDIR, path);
    UNLOCK(result);
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

// A process that stops itself after a failed sync loses what that sync did not write.
void abort(void) {
    pthread_mutex_lock(&lock);
    if (dir_length) power_failure();
    RAW(exit_group, 134);
    __builtin_unreachable();
}

__attribute__((destructor)) static void report(void) {
    if (!dir_length) return;
    char text[64];
    int n = snprintf(text, sizeof text, "operations %ld\n", operations);
    if (RAW(write, 2, text, n) < 0) {}
}
