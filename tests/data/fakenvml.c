// A stand-in libnvidia-ml.so.1, so that NVML's facts and its refusals can be had on any machine.
// Build: gcc -shared -fPIC -o libnvidia-ml.so.1 fakenvml.c
//
//   FAKE_NVML_INIT=<code>      what nvmlInit_v2 answers (0)     FAKE_NVML_HANDLE=<code>  …and the look for a UUID
//   FAKE_NVML_<FACT>=<code>    what one call answers; FACT is MEMORY, PROCESSES, MIG, COMPUTE, VIRTUALIZATION,
//                              UTILIZATION, ENERGY, TEMPERATURE or NAME
//   FAKE_NVML_FREE_MB=<6000>   of FAKE_MEMORY_MB=<8192>         FAKE_NVML_PIDS=<1,2>     processes on the GPU (none)
//   FAKE_NVML_PROGRAM=<text>   name of each process             FAKE_NVML_MIG_MODE=<0|1> FAKE_NVML_COMPUTE_MODE=<0>
//   FAKE_NVML_VIRTUAL=<0>      virtualization mode              FAKE_NVML_HANG=1         nvmlInit_v2 never returns
//   FAKE_NVML_ABORT=1          nvmlInit_v2 aborts the process
//   FAKE_NVML_FILE=<path>      a file of lines NAME=number, read at each question; it beats the environment
//
// A UUID that begins with MIG- is a slice: asked for its mode, energy or virtualization it answers 3, not
// supported, as the real one does; those are its card's.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef int R;
typedef struct { int is_mig; } Device;
static Device card = {0}, slice = {1};
static int in_file(const char *n, int *v) {
    const char *path = getenv("FAKE_NVML_FILE");
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

R nvmlInit_v2(void) {
    fprintf(stdout, "NVML is talkative\n");
    fflush(stdout);
    while (envi("FAKE_NVML_HANG", 0)) pause();
    if (envi("FAKE_NVML_ABORT", 0)) abort();
    return envi("FAKE_NVML_INIT", 0);
}
R nvmlShutdown(void) { return 0; }
R nvmlSystemGetDriverVersion(char *text, unsigned n) { snprintf(text, n, "570.124.06"); return 0; }
R nvmlDeviceGetHandleByUUID(const char *uuid, Device **d) {
    *d = !strncmp(uuid, "MIG-", 4) ? &slice : &card;
    return envi("FAKE_NVML_HANDLE", 0);
}
R nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *d, Device **whole) {
    *whole = &card;
    return d->is_mig ? 0 : 2;
}
typedef struct { unsigned long long total, free, used; } Memory;
R nvmlDeviceGetMemoryInfo(Device *d, Memory *m) {
    m->total = (unsigned long long)envi("FAKE_MEMORY_MB", 8192) << 20;
    m->free = (unsigned long long)envi("FAKE_NVML_FREE_MB", 6000) << 20;
    m->used = m->total - m->free;
    return envi("FAKE_NVML_MEMORY", 0);
}
R nvmlDeviceGetMigMode(Device *d, unsigned *now, unsigned *later) {
    *now = *later = envi("FAKE_NVML_MIG_MODE", 0);
    return d->is_mig ? 3 : envi("FAKE_NVML_MIG", 0);
}
R nvmlDeviceGetComputeMode(Device *d, unsigned *mode) {
    *mode = envi("FAKE_NVML_COMPUTE_MODE", 0);
    return d->is_mig ? 3 : envi("FAKE_NVML_COMPUTE", 0);
}
R nvmlDeviceGetVirtualizationMode(Device *d, unsigned *mode) {
    *mode = envi("FAKE_NVML_VIRTUAL", 0);
    return d->is_mig ? 3 : envi("FAKE_NVML_VIRTUALIZATION", 0);
}
typedef struct { unsigned gpu, memory; } Utilization;
R nvmlDeviceGetUtilizationRates(Device *d, Utilization *u) {
    u->gpu = 37;
    u->memory = 12;
    return d->is_mig ? 3 : envi("FAKE_NVML_UTILIZATION", 0);
}
R nvmlDeviceGetTotalEnergyConsumption(Device *d, unsigned long long *mj) {
    *mj = 5000000000ull;
    return d->is_mig ? 3 : envi("FAKE_NVML_ENERGY", 0);
}
R nvmlDeviceGetTemperature(Device *d, unsigned sensor, unsigned *celsius) {
    *celsius = 61;
    return d->is_mig ? 3 : envi("FAKE_NVML_TEMPERATURE", 0);
}
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } Process;
R nvmlDeviceGetComputeRunningProcesses_v3(Device *d, unsigned *count, Process *list) {
    const char *pids = getenv("FAKE_NVML_PIDS");
    unsigned n = 0;
    for (const char *p = pids; p && *p && n < *count; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        Process one = {(unsigned)atoi(p), 1 << 20, ~0u, ~0u};
        list[n++] = one;
    }
    *count = n;
    return envi("FAKE_NVML_PROCESSES", 0);
}
R nvmlSystemGetProcessName(unsigned pid, char *name, unsigned n) {
    const char *given = getenv("FAKE_NVML_PROGRAM");
    snprintf(name, n, "%s", given ? given : "/usr/bin/python3");
    return envi("FAKE_NVML_NAME", 0);
}
