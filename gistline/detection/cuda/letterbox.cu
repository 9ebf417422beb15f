// Frames of any size -> the network's input: scale to fit, centre on grey, 0..1, planes of red, green and blue.
//
// The same picture as preprocess.letterbox makes with OpenCV on the CPU. OpenCV's bilinear weights have 11 bits and its
// intermediate sums are cut, not rounded; both are followed here, since a level more or less is a difference between
// what an engine was measured on and what it sees. Coordinates are computed in double precision, once a tile.

#ifndef GISTLINE_HOST
typedef unsigned char u8;
typedef unsigned short half_bits;
#endif

#define TILE 32
#define PAD_VALUE 114
#define COEFFICIENT_SCALE 2048.0f

enum Mode { COPY = 0, LINEAR = 1, AREA_WHOLE = 2, AREA = 3 };

// One frame of the batch, as FRAME in cuda_frames.py writes it. Scales are source pixels a pixel of the scaled image.
struct Frame {
    double scale_x, scale_y;
    unsigned long long offset;
    int width, height, channels;
    int new_width, new_height, pad_x, pad_y;
    int mode;
};

// What one row or column of the scaled image reads. Bilinear: pixels first and last with weights low and high. Area:
// pixels first to last, the outer two in part.
struct Taps {
    int first, last;
    int low, high;
    float head, body, tail;
};

static __device__ int clamp(int value, int least, int most) { return min(max(value, least), most); }

static __device__ Taps linear_taps(int at, double scale, int size, bool across)
{
    float place = (float)__dadd_rn(__dmul_rn((double)at + 0.5, scale), -0.5);
    int first = (int)floorf(place);
    float part = place - (float)first;
    // OpenCV drops the weight of what lies outside in a row; in a column it reads the edge twice instead.
    if (across && (first < 0 || first >= size - 1)) {
        first = first < 0 ? 0 : size - 1;
        part = 0.0f;
    }
    Taps taps;
    taps.first = clamp(first, 0, size - 1);
    taps.last = clamp(first + 1, 0, size - 1);
    taps.low = (int)rintf((1.0f - part) * COEFFICIENT_SCALE);
    taps.high = (int)rintf(part * COEFFICIENT_SCALE);
    taps.head = taps.body = taps.tail = 0.0f;
    return taps;
}

static __device__ Taps area_taps(int at, double scale, int size)
{
    double start = (double)at * scale;
    double end = start + scale;
    double cell = fmin(scale, (double)size - start);
    int last = min((int)floor(end), size - 1);
    int first = min((int)ceil(start), last);
    Taps taps;
    taps.first = first;
    taps.last = last - 1;
    taps.head = taps.body = taps.tail = (float)(1.0 / cell);
    taps.low = taps.high = 0;
    if ((double)first - start > 1e-3) {
        taps.first = first - 1;
        taps.head = (float)(((double)first - start) / cell);
    }
    if (end - (double)last > 1e-3) {
        taps.last = last;
        taps.tail = (float)(fmin(fmin(end - (double)last, 1.0), cell) / cell);
    }
    return taps;
}

static __device__ Taps whole_taps(int at, double scale)
{
    int count = (int)rint(scale);
    Taps taps;
    taps.first = at * count;
    taps.last = taps.first + count - 1;
    taps.low = taps.high = 0;
    taps.head = taps.body = taps.tail = 0.0f;
    return taps;
}

static __device__ Taps make_taps(int at, double scale, int size, int mode, bool across)
{
    if (mode == LINEAR) return linear_taps(at, scale, size, across);
    if (mode == AREA) return area_taps(at, scale, size);
    return whole_taps(at, mode == COPY ? 1.0 : scale);
}

static __device__ float weight(const Taps &taps, int at)
{
    // A cell inside one pixel has its weight in the tail, where OpenCV's table puts it.
    return at == taps.last ? taps.tail : at == taps.first ? taps.head : taps.body;
}

static __device__ int sample_linear(const u8 *pixels, const Frame &frame, const Taps &x, const Taps &y, int channel)
{
    const int step = frame.channels;
    const u8 *upper = pixels + (long long)y.first * frame.width * step + channel;
    const u8 *lower = pixels + (long long)y.last * frame.width * step + channel;
    int above = upper[x.first * step] * x.low + upper[x.last * step] * x.high;
    int below = lower[x.first * step] * x.low + lower[x.last * step] * x.high;
    int value = (((y.low * (above >> 4)) >> 16) + ((y.high * (below >> 4)) >> 16) + 2) >> 2;
    return clamp(value, 0, 255);
}

static __device__ int sample_whole(const u8 *pixels, const Frame &frame, const Taps &x, const Taps &y, int channel)
{
    int sum = 0;
    for (int row = y.first; row <= y.last; ++row) {
        const u8 *line = pixels + (long long)row * frame.width * frame.channels + channel;
        for (int column = x.first; column <= x.last; ++column) sum += line[column * frame.channels];
    }
    int area = (x.last - x.first + 1) * (y.last - y.first + 1);
    // OpenCV has a path of its own for 2 x 2, which rounds halves up; its general one rounds them to even.
    if (x.last - x.first == 1 && y.last - y.first == 1) return (sum + 2) >> 2;
    return clamp((int)rintf(__fmul_rn((float)sum, __fdiv_rn(1.0f, (float)area))), 0, 255);
}

static __device__ int sample_area(const u8 *pixels, const Frame &frame, const Taps &x, const Taps &y, int channel)
{
    float sum = 0.0f;
    for (int row = y.first; row <= y.last; ++row) {
        const u8 *line = pixels + (long long)row * frame.width * frame.channels + channel;
        float part = 0.0f;
        for (int column = x.first; column <= x.last; ++column)
            part = __fadd_rn(part, __fmul_rn((float)line[column * frame.channels], weight(x, column)));
        sum = __fadd_rn(sum, __fmul_rn(weight(y, row), part));
    }
    return clamp((int)rintf(sum), 0, 255);
}

static __device__ int sample(const u8 *pixels, const Frame &frame, const Taps &x, const Taps &y, int channel)
{
    if (frame.mode == LINEAR) return sample_linear(pixels, frame, x, y, channel);
    if (frame.mode == AREA) return sample_area(pixels, frame, x, y, channel);
    return sample_whole(pixels, frame, x, y, channel);
}

static __device__ void store(float *place, float value) { *place = value; }

static __device__ void store(half_bits *place, float value)
{
#ifdef GISTLINE_HOST
    *place = half_of(value);
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(*place) : "f"(value));
#endif
}

// Grid: tiles across, tiles down, frames. Any block size will do.
template <typename Value>
static __device__ void letterbox(const u8 *bytes, const Frame *frames, Value *input, int width, int height)
{
    __shared__ Taps columns[TILE], rows[TILE];
    const Frame frame = frames[blockIdx.z];
    const int left = blockIdx.x * TILE, top = blockIdx.y * TILE;
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    for (int i = thread; i < 2 * TILE; i += blockDim.x * blockDim.y) {
        if (i < TILE) {
            int at = clamp(left + i - frame.pad_x, 0, frame.new_width - 1);
            columns[i] = make_taps(at, frame.scale_x, frame.width, frame.mode, true);
        } else {
            int at = clamp(top + i - TILE - frame.pad_y, 0, frame.new_height - 1);
            rows[i - TILE] = make_taps(at, frame.scale_y, frame.height, frame.mode, false);
        }
    }
    __syncthreads();
    const u8 *pixels = bytes + frame.offset;
    const long long plane = (long long)width * height;
    Value *image = input + 3 * plane * blockIdx.z;
    for (int j = threadIdx.y; j < TILE && top + j < height; j += blockDim.y) {
        for (int i = threadIdx.x; i < TILE && left + i < width; i += blockDim.x) {
            const int x = left + i - frame.pad_x, y = top + j - frame.pad_y;
            const bool inside = x >= 0 && y >= 0 && x < frame.new_width && y < frame.new_height;
            int value = PAD_VALUE;
            for (int channel = 0; channel < 3; ++channel) {
                if (inside && channel < frame.channels) value = sample(pixels, frame, columns[i], rows[j], channel);
                store(image + channel * plane + (long long)(top + j) * width + left + i, __fdiv_rn((float)value, 255.0f));
            }
        }
    }
}

extern "C" __global__ void letterbox_f32(const u8 *bytes, const Frame *frames, float *input, int width, int height)
{
    letterbox(bytes, frames, input, width, height);
}

extern "C" __global__ void letterbox_f16(const u8 *bytes, const Frame *frames, half_bits *input, int width, int height)
{
    letterbox(bytes, frames, input, width, height);
}
