// Raw predictions -> the boxes whose score reaches the threshold, packed, at most so many an image, the strongest.
//
// The same boxes as candidates.select finds with numpy. A first kernel for the layout of the network writes what it
// finds in the order in which it finds it; gather packs that and, where there is more than is wanted, keeps the strongest, of
// equal ones the first in the prediction. The order inside an image is left to the host, which sorts what little comes.

#ifndef GISTLINE_HOST
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short half_bits;
#endif

#ifndef LANES
#define LANES 32
#endif
#define EVERY_LANE 0xffffffffu

// As CANDIDATE in cuda_candidates.py reads it.
struct Candidate {
    float x, y, w, h;
    float score;
    int label;
    u32 index;
    int image;
};

// As HEADER_ROWS in cuda_candidates.py: four rows of one number an image.
enum Row { FOUND = 0, NOT_FINITE = 1, WRONG_LABELS = 2, A_WRONG_LABEL = 3 };

// What the three kernels share; predictions is their number an image and the room for its candidates.
struct Wanted {
    int batch, predictions, labels;
    float least_score, least_objectness;
};

static __device__ float load(const float *place) { return *place; }

static __device__ float load(const half_bits *place)
{
#ifdef GISTLINE_HOST
    return float_of(*place);
#else
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(*place));
    return value;
#endif
}

static __device__ bool finite(float value) { return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u; }

static __device__ void add(const Candidate &one, const Wanted &wanted, Candidate *found, int *header)
{
    int slot = atomicAdd(&header[FOUND * wanted.batch + one.image], 1);
    found[(long long)one.image * wanted.predictions + slot] = one;
}

// [labels + 4, predictions] an image: neighbouring threads read neighbouring numbers of a row.
template <typename Value>
static __device__ void anchor_free(const Value *raw, const Wanted wanted, Candidate *found, int *header)
{
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= wanted.predictions) return;
    const long long row = wanted.predictions;
    const Value *column = raw + (long long)blockIdx.y * (wanted.labels + 4) * row + index;
    Candidate one = {load(column), load(column + row), load(column + 2 * row), load(column + 3 * row)};
    bool sound = finite(one.x) && finite(one.y) && finite(one.w) && finite(one.h);
    one.label = 0;
    one.score = load(column + 4 * row);
    sound = sound && finite(one.score);
    for (int label = 1; label < wanted.labels; ++label) {
        float score = load(column + (4 + label) * row);
        sound = sound && finite(score);
        if (score > one.score) {
            one.score = score;
            one.label = label;
        }
    }
    one.index = index;
    one.image = blockIdx.y;
    if (!sound) atomicAdd(&header[NOT_FINITE * wanted.batch + one.image], 1);
    else if (one.score >= wanted.least_score) add(one, wanted, found, header);
}

// [predictions, 5 + labels] an image: a warp reads one prediction, since its numbers lie together.
template <typename Value>
static __device__ void objectness(const Value *raw, const Wanted wanted, Candidate *found, int *header)
{
    const int lane = threadIdx.x % LANES;
    const int index = (blockIdx.x * blockDim.x + threadIdx.x) / LANES;
    if (index >= wanted.predictions) return;
    const int values = wanted.labels + 5;
    const Value *line = raw + ((long long)blockIdx.y * wanted.predictions + index) * values;
    float best = -__int_as_float(0x7f800000);
    int label = wanted.labels, broken = 0;
    for (int i = lane; i < values; i += LANES) {
        float value = load(line + i);
        broken |= !finite(value);
        if (i >= 5 && value > best) {
            best = value;
            label = i - 5;
        }
    }
    for (int away = LANES / 2; away > 0; away /= 2) {
        float score = __shfl_xor_sync(EVERY_LANE, best, away);
        int other = __shfl_xor_sync(EVERY_LANE, label, away);
        broken |= __shfl_xor_sync(EVERY_LANE, broken, away);
        if (score > best || (score == best && other < label)) {
            best = score;
            label = other;
        }
    }
    if (lane != 0) return;
    if (broken) {
        atomicAdd(&header[NOT_FINITE * wanted.batch + blockIdx.y], 1);
        return;
    }
    const float object = load(line + 4);
    Candidate one = {load(line), load(line + 1), load(line + 2), load(line + 3), __fmul_rn(object, best), label};
    one.index = index;
    one.image = blockIdx.y;
    if (object >= wanted.least_objectness && one.score >= wanted.least_score) add(one, wanted, found, header);
}

// [predictions, 6] an image: left, top, right, bottom, score, label.
template <typename Value>
static __device__ void end_to_end(const Value *raw, const Wanted wanted, Candidate *found, int *header)
{
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= wanted.predictions) return;
    const Value *line = raw + ((long long)blockIdx.y * wanted.predictions + index) * 6;
    float value[6];
    bool sound = true;
    for (int i = 0; i < 6; ++i) {
        value[i] = load(line + i);
        sound = sound && finite(value[i]);
    }
    const int image = blockIdx.y;
    if (!sound) {
        atomicAdd(&header[NOT_FINITE * wanted.batch + image], 1);
        return;
    }
    if (value[4] < wanted.least_score) return;
    const int label = (int)rintf(value[5]);
    if (label < 0 || label >= wanted.labels) {
        atomicAdd(&header[WRONG_LABELS * wanted.batch + image], 1);
        atomicExch(&header[A_WRONG_LABEL * wanted.batch + image], label);
        return;
    }
    Candidate one = {__fmul_rn(__fadd_rn(value[0], value[2]), 0.5f), __fmul_rn(__fadd_rn(value[1], value[3]), 0.5f),
                     __fadd_rn(value[2], -value[0]), __fadd_rn(value[3], -value[1]), value[4], label};
    one.index = index;
    one.image = image;
    add(one, wanted, found, header);
}

// A number that is larger for the stronger candidate and, of equal ones, for the earlier. No two are alike.
static __device__ u64 rank_of(const Candidate &one)
{
    u32 bits = __float_as_uint(__fadd_rn(one.score, 0.0f));
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (u64)bits << 32 | (u64)(0xffffffffu - one.index);
}

// The rank of the last candidate that is kept, digit by digit from the highest (radix selection). A whole block.
static __device__ u64 least_rank(const Candidate *found, int count, int most)
{
    __shared__ int histogram[256];
    __shared__ u64 settled;
    __shared__ int missing;
    if (threadIdx.x == 0) {
        settled = 0;
        missing = most;
    }
    u64 mask = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        for (int i = threadIdx.x; i < 256; i += blockDim.x) histogram[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            u64 rank = rank_of(found[i]);
            if ((rank & mask) == settled) atomicAdd(&histogram[(rank >> shift) & 255], 1);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            int digit = 255;
            while (histogram[digit] < missing) missing -= histogram[digit--];
            settled |= (u64)digit << shift;
        }
        mask |= (u64)255 << shift;
        __syncthreads();
    }
    return settled;
}

// One block an image. Packs the candidates of all images without gaps, those of an image together.
extern "C" __global__ void gather(const Candidate *found, const int *header, Candidate *packed, int room, int most)
{
    __shared__ int begin, slots;
    if (threadIdx.x == 0) begin = slots = 0;
    __syncthreads();
    const int image = blockIdx.x;
    for (int i = threadIdx.x; i < image; i += blockDim.x) atomicAdd(&begin, min(header[i], most));
    const Candidate *mine = found + (long long)image * room;
    const int count = header[image];
    const u64 least = count > most ? least_rank(mine, count, most) : 0;
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        if (count > most && rank_of(mine[i]) < least) continue;
        packed[begin + (count > most ? atomicAdd(&slots, 1) : i)] = mine[i];
    }
}

#define KERNEL(layout, name, Value)                                                                                  \
    extern "C" __global__ void layout##_##name(const Value *raw, Wanted wanted, Candidate *found, int *header)       \
    {                                                                                                                \
        layout(raw, wanted, found, header);                                                                          \
    }

KERNEL(anchor_free, f32, float)
KERNEL(anchor_free, f16, half_bits)
KERNEL(objectness, f32, float)
KERNEL(objectness, f16, half_bits)
KERNEL(end_to_end, f32, float)
KERNEL(end_to_end, f16, half_bits)
