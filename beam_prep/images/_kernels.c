/* The loops over every pixel of an 8-bit image, see kernels.py.

   Two go by pairs of neighbouring pixels: a table of 65,536 entries takes half as many look-ups as one of 256 takes
   single pixels, and what of it an image uses stays in the cache, as neighbours are alike. The order of the two pixels
   in a pair, which is that of the machine's bytes, makes no difference to a sum. The third goes by whole rows, which the
   compiler turns into vector instructions. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { VALUES = 256, PAIRS = VALUES * VALUES };

static inline uint16_t pair_at(const uint8_t *pixels)
{
    uint16_t pair;
    memcpy(&pair, pixels, sizeof pair);
    return pair;
}

static void count_values(const uint8_t *pixels, Py_ssize_t length, uint32_t *of_pairs, uint32_t *counts)
{
    /* Four places of the image in turn: neighbours are often the same pair, and would wait for each other's count. */
    const Py_ssize_t quarter = length / 8 * 2;
    for (Py_ssize_t i = 0; i < quarter; i += 2)
        for (int part = 0; part < 4; part++)
            of_pairs[pair_at(pixels + part * quarter + i)]++;
    for (Py_ssize_t i = 4 * quarter; i < length; i++)
        counts[pixels[i]]++;
    for (int high = 0; high < VALUES; high++) {
        uint32_t sum = 0;
        for (int low = 0; low < VALUES; low++) {
            const uint32_t count = of_pairs[high * VALUES + low];
            sum += count;
            counts[low] += count;
        }
        counts[high] += sum;
    }
}

static PyObject *histogram(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer pixels;
    if (!PyArg_ParseTuple(args, "y*:histogram", &pixels))
        return NULL;
    uint32_t counts[VALUES] = {0};
    uint32_t *of_pairs = pixels.len < UINT32_MAX ? PyMem_Calloc(PAIRS, sizeof *of_pairs) : NULL;
    if (of_pairs) {
        Py_BEGIN_ALLOW_THREADS
        count_values(pixels.buf, pixels.len, of_pairs, counts);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&pixels);
    if (!of_pairs)
        return PyErr_NoMemory();
    PyMem_Free(of_pairs);
    return PyBytes_FromStringAndSize((const char *)counts, sizeof counts);
}

/* At an odd edge the last row and column stand twice, which gives the mean of those that there are. */
static void halve_rows(const uint8_t *pixels, Py_ssize_t width, Py_ssize_t height, const uint8_t *table,
                       uint16_t *restrict sums, uint8_t *restrict out)
{
    for (int high = 0; high < VALUES; high++)
        for (int low = 0; low < VALUES; low++)
            sums[high * VALUES + low] = (uint16_t)(table[high] + table[low]);
    for (Py_ssize_t row = 0; row < height; row += 2) {
        const uint8_t *above = pixels + row * width;
        const uint8_t *below = row + 1 < height ? above + width : above;
        for (Py_ssize_t column = 0; column + 1 < width; column += 2)
            *out++ = (uint8_t)((sums[pair_at(above + column)] + sums[pair_at(below + column)] + 2) >> 2);
        if (width % 2)
            *out++ = (uint8_t)((table[above[width - 1]] + table[below[width - 1]] + 1) >> 1);
    }
}

static PyObject *halve(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer pixels, table;
    Py_ssize_t width, height;
    if (!PyArg_ParseTuple(args, "y*nny*:halve", &pixels, &width, &height, &table))
        return NULL;
    PyObject *out = NULL;
    uint16_t *sums = NULL;
    if (width < 1 || height < 1 || pixels.len / width != height || pixels.len % width || table.len != VALUES)
        PyErr_SetString(PyExc_ValueError, "expected width * height pixels and a table of 256");
    else if (!(sums = PyMem_Malloc(PAIRS * sizeof *sums)))
        PyErr_NoMemory();
    else if ((out = PyBytes_FromStringAndSize(NULL, ((width + 1) / 2) * ((height + 1) / 2)))) {
        Py_BEGIN_ALLOW_THREADS
        halve_rows(pixels.buf, width, height, table.buf, sums, (uint8_t *)PyBytes_AS_STRING(out));
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(sums);
    PyBuffer_Release(&table);
    PyBuffer_Release(&pixels);
    return out;
}

/* Pillow's fixed point: its `Resample.c` gives a weight 22 bits, which leaves 8 for the pixel and 2 for the sum. */
enum { WEIGHT_BITS = 22 };

/* Where the C library can choose by the processor, the vectors are twice as long. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

FOR_EACH_PROCESSOR
static void weigh_rows(const uint8_t *pixels, Py_ssize_t width, const int32_t *weights, Py_ssize_t num_weights,
                       int32_t *restrict sums, uint8_t *restrict out)
{
    for (Py_ssize_t column = 0; column < width; column++)
        sums[column] = 1 << (WEIGHT_BITS - 1);
    for (Py_ssize_t i = 0; i < num_weights; i++, pixels += width) {
        const int32_t weight = weights[i];
        for (Py_ssize_t column = 0; column < width; column++)
            sums[column] += weight * pixels[column];
    }
    for (Py_ssize_t column = 0; column < width; column++) {
        const int32_t value = sums[column] >> WEIGHT_BITS;
        out[column] = (uint8_t)(value > 255 ? 255 : value);
    }
}

/* Each row becomes the mean of those that a triangle around it covers, weighed by it. `shares` and
   `weights` have room for one a row of the image, `sums` for one a column. */
static void shrink_rows(const uint8_t *pixels, Py_ssize_t width, Py_ssize_t height, double covered,
                        Py_ssize_t out_height, double *shares, int32_t *weights, int32_t *sums, uint8_t *out)
{
    const double scale = covered / (double)out_height;
    for (Py_ssize_t row = 0; row < out_height; row++, out += width) {
        const double center = ((double)row + 0.5) * scale;
        Py_ssize_t first = (Py_ssize_t)(center - scale + 0.5), end = (Py_ssize_t)(center + scale + 0.5);
        first = first < 0 ? 0 : first;
        end = end > height ? height : end;
        double total = 0;
        for (Py_ssize_t i = first; i < end; i++) {
            shares[i - first] = fmax(0.0, 1.0 - fabs(((double)i - center + 0.5) * (1.0 / scale)));
            total += shares[i - first];
        }
        for (Py_ssize_t i = 0; i < end - first; i++)
            weights[i] = (int32_t)(0.5 + shares[i] / total * (1 << WEIGHT_BITS));
        weigh_rows(pixels + first * width, width, weights, end - first, sums, out);
    }
}

static PyObject *shrink_height(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer pixels;
    Py_ssize_t width, height, out_height;
    double covered;
    if (!PyArg_ParseTuple(args, "y*nndn:shrink_height", &pixels, &width, &height, &covered, &out_height))
        return NULL;
    PyObject *out = NULL;
    double *shares = NULL;
    int32_t *weights = NULL, *sums = NULL;
    if (width < 1 || height < 1 || pixels.len / width != height || pixels.len % width || out_height < 1
        || !(covered >= (double)out_height && covered <= (double)height))
        PyErr_SetString(PyExc_ValueError, "expected width * height pixels and fewer rows out of those covered");
    else if (!(shares = PyMem_New(double, height)) || !(weights = PyMem_New(int32_t, height))
             || !(sums = PyMem_New(int32_t, width)))
        PyErr_NoMemory();
    else if ((out = PyBytes_FromStringAndSize(NULL, width * out_height))) {
        Py_BEGIN_ALLOW_THREADS
        shrink_rows(pixels.buf, width, height, covered, out_height, shares, weights, sums,
                    (uint8_t *)PyBytes_AS_STRING(out));
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(sums);
    PyMem_Free(weights);
    PyMem_Free(shares);
    PyBuffer_Release(&pixels);
    return out;
}

static PyMethodDef functions[] = {
    {"histogram", histogram, METH_VARARGS, "histogram(pixels) -> uint32 [256] as bytes: how many pixels have each value"},
    {"halve", halve, METH_VARARGS, "halve(pixels, width, height, table) -> bytes: looked up, then 2 x 2 become their mean"},
    {"shrink_height", shrink_height, METH_VARARGS,
     "shrink_height(pixels, width, height, covered, out_height) -> bytes: bilinear, with anti-aliasing"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef kernels = {
    PyModuleDef_HEAD_INIT, .m_name = "_kernels", .m_size = 0, .m_methods = functions};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&kernels);
}
