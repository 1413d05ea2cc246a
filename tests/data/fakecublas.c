// A stand-in cuBLAS (and, without -DMAJOR, cuBLASLt) that only says its version.
// -DNEEDS_LT makes it need a symbol of cuBLASLt's, as the real one does.
#ifdef MAJOR
#ifdef NEEDS_LT
int cublasLtOfTheSameBuild(void);
int cublas_uses_lt(void) { return cublasLtOfTheSameBuild(); }
#endif
int cublasGetProperty(int which, int *value) {
    *value = which == 0 ? MAJOR : which == 1 ? 9 : 1;
    return 0;
}
#else
int cublasLtGetVersion(void) { return 120901; }
#ifdef SAME_BUILD
int cublasLtOfTheSameBuild(void) { return 1; }
#endif
#endif
