/* Linux's /dev/uinput for programs on machines that have none: LD_PRELOAD this library.
 *
 * What the program's device tells is appended to the file or FIFO that UINPUT_SHIM_EVENTS names, as the kernel hands it out at
 * /dev/input/event*: `struct input_event`, 24 bytes each where time has 64 bits, stamped with the time.  As there, what is
 * told while nobody has the FIFO open is lost, and a FIFO ends when the program does, like a pad that is unplugged.
 * How the device is set up goes to the file UINPUT_SHIM_SETUP, a line each: "name NAME", "abs CODE MINIMUM MAXIMUM", "create",
 * "destroy".  With UINPUT_SHIM_ERRNO, opening /dev/uinput fails with that error number.
 *
 * One device per program.  Build: gcc -shared -fPIC -O2 -o uinput_shim.so uinput_shim.c -ldl
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/uinput.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define NODE "/dev/uinput"
#define SYSNAME "input987"
#define SYSPATH "/sys/devices/virtual/input/" SYSNAME

static int device = -1; /* the program's descriptor: one end of a pair of sockets that nobody ever writes to */
static int other_end = -1;
static int events = -1;
static int created = 0;

#define REAL(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))

static void note(const char *format, ...) {
  const char *path = getenv("UINPUT_SHIM_SETUP");
  if (!path) return;
  FILE *file = fopen(path, "ae");
  if (!file) return;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(file, format, arguments);
  va_end(arguments);
  fclose(file);
}

static int open_device(int flags) {
  const char *failure = getenv("UINPUT_SHIM_ERRNO");
  int pair[2];
  if (failure || device >= 0) {
    errno = failure ? atoi(failure) : EBUSY;
    return -1;
  }
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (flags & O_NONBLOCK ? SOCK_NONBLOCK : 0), 0, pair)) return -1;
  other_end = pair[0];
  return device = pair[1];
}

#define OPEN(name)                                          \
  int name(const char *path, int flags, ...) {              \
    va_list arguments;                                      \
    va_start(arguments, flags);                             \
    int mode = va_arg(arguments, int);                      \
    va_end(arguments);                                      \
    if (!strcmp(path, NODE)) return open_device(flags);     \
    return REAL(name)(path, flags, mode);                   \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                        \
  int name(int folder, const char *path, int flags, ...) {  \
    va_list arguments;                                      \
    va_start(arguments, flags);                             \
    int mode = va_arg(arguments, int);                      \
    va_end(arguments);                                      \
    if (!strcmp(path, NODE)) return open_device(flags);     \
    return REAL(name)(folder, path, flags, mode);           \
  }
OPENAT(openat)
OPENAT(openat64)

int ioctl(int descriptor, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  if (descriptor < 0 || descriptor != device) return REAL(ioctl)(descriptor, request, argument);
  if (_IOC_TYPE(request) != UINPUT_IOCTL_BASE) {
    errno = ENOTTY;
    return -1;
  }
  switch (_IOC_NR(request)) {
    case _IOC_NR(UI_DEV_SETUP):
      note("name %s\n", ((struct uinput_setup *)argument)->name);
      break;
    case _IOC_NR(UI_ABS_SETUP): {
      struct uinput_abs_setup *axis = argument;
      note("abs %d %d %d\n", axis->code, axis->absinfo.minimum, axis->absinfo.maximum);
      break;
    }
    case _IOC_NR(UI_DEV_CREATE):
      created = 1;
      note("create\n");
      break;
    case _IOC_NR(UI_DEV_DESTROY):
      if (created) note("destroy\n");
      created = 0;
      break;
    case _IOC_NR(UI_GET_VERSION):
      *(unsigned *)argument = UINPUT_VERSION;
      break;
    case _IOC_NR(UI_GET_SYSNAME(0)):
      snprintf(argument, _IOC_SIZE(request), SYSNAME);
      break;
  }
  return 0;
}

ssize_t write(int descriptor, const void *data, size_t size) {
  if (descriptor < 0 || descriptor != device) return REAL(write)(descriptor, data, size);
  if (!created || size != sizeof(struct input_event)) {
    errno = EINVAL;
    return -1;
  }
  const char *path = getenv("UINPUT_SHIM_EVENTS");
  if (events < 0 && path) events = REAL(open)(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0600);
  struct input_event event = *(const struct input_event *)data;
  struct timeval now;
  gettimeofday(&now, NULL);
  event.input_event_sec = now.tv_sec;
  event.input_event_usec = now.tv_usec;
  if (events >= 0 && REAL(write)(events, &event, sizeof event) < 0 && errno == EPIPE) {
    REAL(close)(events); /* the reader has gone: the next one may come */
    events = -1;
  }
  return size;
}

int close(int descriptor) {
  if (descriptor >= 0 && descriptor == device) {
    if (created) note("destroy\n");
    created = 0;
    device = -1;
    REAL(close)(other_end);
    if (events >= 0) REAL(close)(events);
    events = -1;
  }
  return REAL(close)(descriptor);
}

/* libevdev looks into the device's folder for the name of its node. */
int scandir(const char *path, struct dirent ***entries, int (*wanted)(const struct dirent *),
            int (*order)(const struct dirent **, const struct dirent **)) {
  if (strncmp(path, SYSPATH, strlen(SYSPATH))) return REAL(scandir)(path, entries, wanted, order);
  *entries = malloc(sizeof **entries);
  **entries = calloc(1, sizeof ***entries);
  strcpy((**entries)->d_name, "event987");
  return 1;
}
