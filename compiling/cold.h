/*
 * What only errors come to. Told that it is cold, the compiler takes each path that leads there out of the way of the
 * others: nearly a third of all code, for hardly a call of Python's is without one.
 *
 * The declarations are mypyc's own, of CPy.h; with other ones the build fails.
 */

#include <Python.h>

#define COLD __attribute__((cold))

COLD void CPy_AddTraceback(const char *, const char *, int, PyObject *);
COLD void CPy_TypeErrorTraceback(const char *, const char *, int, PyObject *, const char *, PyObject *);
COLD void CPy_AttributeError(const char *, const char *, const char *, const char *, int, PyObject *);
COLD void CPyError_OutOfMemory(void);
