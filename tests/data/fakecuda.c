// A stand-in libcuda.so.1, so that the driver's failures and a healthy GPU can be had on any machine.
// Copied from shared/fakecuda and extended with devices. Build: gcc -shared -fPIC -o libcuda.so.1 fakecuda.c
//
//   FAKE_CUINIT=<code>     what cuInit answers (0)        FAKE_COUNT=<n>    devices (0: code 100 as before,
//   FAKE_DRVVER=<12080>    cuDriverGetVersion                               unless FAKE_COUNT_CODE says otherwise)
//   FAKE_COUNT_CODE=<code> what cuDeviceGetCount answers  FAKE_CC=<80>      compute capability, 8.0
//   FAKE_NAME=<text>       device name                    FAKE_MEMORY_MB=<8192>
//   FAKE_HANG=1            cuInit never returns           FAKE_ABORT=1      cuInit aborts the process
//   FAKE_CT2=<code>        what CUDA's runtime gets when it starts (0: it goes on to a check of its own that no
//                          stand-in passes, "integrity checks failed", which names no known cause)
//   FAKE_NODE=<path>       without this file there is no device: cuInit answers 100, as without /dev/nvidia0
//   FAKE_TOUCH=<path>      cuInit makes this file, so that a test knows it was reached
//   FAKE_LOG=1             calls to standard error
//   FAKE_FILE=<path>       a file of lines NAME=number, read at each question: it beats the environment, and can be
//                          changed while a service runs
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef int R;
static int in_file(const char *n, int *v) {
    const char *path = getenv("FAKE_FILE");
    FILE *f = path ? fopen(path, "r") : NULL;
    char line[256];
    int found = 0;
    size_t length = strlen(n);
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, n, length) && line[length] == '=') { *v = atoi(line + length + 1); found = 1; }
    if (f) fclose(f);
    return found;
}
static int envi(const char *n, int d) {
    int v;
    if (in_file(n, &v)) return v;
    const char *e = getenv(n);
    return e && *e ? atoi(e) : d;
}
static int log_on(void) { return envi("FAKE_LOG", 0); }
static int count(void) { return envi("FAKE_COUNT", 0); }

R cuInit(unsigned f) {
    if (log_on()) fprintf(stderr, "[fake] cuInit\n");
    const char *touch = getenv("FAKE_TOUCH");
    FILE *file = touch ? fopen(touch, "w") : NULL;
    if (file) fclose(file);
    while (envi("FAKE_HANG", 0)) pause();
    if (envi("FAKE_ABORT", 0)) abort();
    const char *node = getenv("FAKE_NODE");
    if (node && access(node, F_OK)) return 100;
    return envi("FAKE_CUINIT", 0);
}
R cuDriverGetVersion(int *v) { *v = envi("FAKE_DRVVER", 12080); return 0; }
R cuDeviceGetCount(int *c) {
    int init = envi("FAKE_CUINIT", 0);
    *c = count();
    return init ? init : envi("FAKE_COUNT_CODE", count() ? 0 : 100);
}
R cuDeviceGet(int *d, int ordinal) { *d = ordinal; return ordinal < count() ? 0 : 101; }
R cuDeviceGetName(char *name, int length, int d) {
    const char *given = getenv("FAKE_NAME");
    snprintf(name, length, "%s", given ? given : "NVIDIA Fake GPU");
    return 0;
}
// Device n is GPU-fafafafa-fafa-fafa-fafa-fafafafafa0n.
R cuDeviceGetUuid_v2(char *uuid, int d) { memset(uuid, 0xfa, 16); uuid[15] = (char)d; return 0; }
R cuDeviceGetAttribute(int *v, int which, int d) {
    int cc = envi("FAKE_CC", 80);
    *v = which == 75 ? cc / 10 : which == 76 ? cc % 10 : which == 1 ? 1024 : which == 10 ? 32 : 1;
    return 0;
}
R cuDeviceTotalMem_v2(size_t *b, int d) { *b = (size_t)envi("FAKE_MEMORY_MB", 8192) << 20; return 0; }
R cuDeviceGetPCIBusId(char *id, int length, int d) { snprintf(id, length, "0000:%02x:00.0", d + 1); return 0; }

// What an engine's evidence asks: its context, its memory pool, whose memory an address is, and what is free.
//   FAKE_POOL_MB=<0>       in use in the pool, now and at most     FAKE_POINTER=<0>   kind of memory of any address;
//                                                                                     0: not known, as of a host's
static size_t space[512];
R cuDevicePrimaryCtxRetain(void **c, int d) { *c = space; return 0; }
R cuCtxSetCurrent(void *c) { return 0; }
R cuDeviceGetDefaultMemPool(void **pool, int d) { *pool = space; return 0; }
R cuMemPoolGetAttribute(void *pool, int which, void *value) {
    *(unsigned long long *)value = (unsigned long long)envi("FAKE_POOL_MB", 0) << 20;
    return which >= 5 && which <= 8 ? 0 : 1;
}
R cuMemPoolSetAttribute(void *pool, int which, void *value) { return which == 6 || which == 8 ? 0 : 1; }
R cuPointerGetAttribute(void *value, int which, unsigned long long address) {
    int kind = envi("FAKE_POINTER", 0);
    if (!kind || (which != 2 && which != 9)) return 1;
    *(int *)value = which == 2 ? kind : 0;
    return 0;
}
R cuMemGetInfo_v2(size_t *free, size_t *total) {
    *total = (size_t)envi("FAKE_MEMORY_MB", 8192) << 20;
    *free = *total / 2;
    return 0;
}
R cuGetErrorString(R r, const char **s) { *s = "fake"; return 0; }
R cuGetErrorName(R r, const char **s) { *s = "FAKE"; return 0; }

static R generic(void) { int i = envi("FAKE_CUINIT", 0); return i ? i : envi("FAKE_CT2", 0); }

// The undocumented tables that CUDA's static runtime asks for when it starts.
static R get_space(void **p, size_t *n) { *p = space; *n = 512; return generic(); }
static R get_bytes(void **p, size_t *n) { *p = space; *n = 14; return generic(); }
static R get_context(void **c, int d) { *c = space; return generic(); }
R cuGetExportTable(const void **t, const void *uuid) {
    static void *runtime[512], *hooks[8], *other[512];
    for (int i = 1; i < 512; i++) runtime[i] = other[i] = (void *)generic;
    for (int i = 1; i < 8; i++) hooks[i] = (void *)generic;
    runtime[0] = other[0] = (void *)sizeof other;
    hooks[0] = (void *)(7 * sizeof(void *));
    runtime[2] = (void *)get_context;
    hooks[2] = (void *)get_space;
    hooks[6] = (void *)get_bytes;
    switch (*(const unsigned char *)uuid) {
    case 0x6b: *t = runtime; break;
    case 0xa0: *t = hooks; break;
    default: *t = other;
    }
    return 0;
}

R cuGetProcAddress_v2(const char *s, void **p, int v, unsigned long long f, int *q);
R cuGetProcAddress(const char *s, void **p, int v, unsigned long long f) { return cuGetProcAddress_v2(s, p, v, f, 0); }
R cuGetProcAddress_v2(const char *s, void **p, int v, unsigned long long f, int *q) {
    static const struct { const char *name; void *function; } table[] = {
        {"cuInit", (void *)cuInit}, {"cuDriverGetVersion", (void *)cuDriverGetVersion},
        {"cuDeviceGetCount", (void *)cuDeviceGetCount}, {"cuDeviceGet", (void *)cuDeviceGet},
        {"cuDeviceGetName", (void *)cuDeviceGetName}, {"cuDeviceGetUuid", (void *)cuDeviceGetUuid_v2},
        {"cuDeviceGetAttribute", (void *)cuDeviceGetAttribute}, {"cuDeviceTotalMem", (void *)cuDeviceTotalMem_v2},
        {"cuDeviceGetPCIBusId", (void *)cuDeviceGetPCIBusId}, {"cuGetErrorString", (void *)cuGetErrorString},
        {"cuGetErrorName", (void *)cuGetErrorName}, {"cuGetExportTable", (void *)cuGetExportTable},
        {"cuGetProcAddress", (void *)cuGetProcAddress_v2}, {"cuGetProcAddress_v2", (void *)cuGetProcAddress_v2},
    };
    if (log_on()) fprintf(stderr, "[fake] getproc %s\n", s);
    *p = (void *)generic;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(s, table[i].name)) *p = table[i].function;
    if (q) *q = 0;
    return 0;
}
