/* What the arithmetic units of this CPU do at most, on so many threads: prints one JSON object.

   cpu_peak THREADS SECONDS [vnni512|vnni256] [amx]

   Each loop keeps several independent chains of instructions in registers, so that neither memory nor latency counts.
   "pairs" is INT8 without VNNI: vpmaddubsw (u8 x s8, pairs summed in 16 bits), vpmaddwd (pairs summed in 32 bits), vpaddd. */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CLOBBERED                                                                                                      \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12"
#define PAIR(sum, t)                                                                                                   \
    "vpmaddubsw %%ymm15, %%ymm14, %%ymm" #t "\n\tvpmaddwd %%ymm13, %%ymm" #t ", %%ymm" #t "\n\tvpaddd %%ymm" #t        \
    ", %%ymm" #sum ", %%ymm" #sum "\n\t"
#define SIX_PAIRS PAIR(0, 6) PAIR(1, 7) PAIR(2, 8) PAIR(3, 9) PAIR(4, 10) PAIR(5, 11)
#define TWELVE(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11)
#define FMA(sum) "vfmadd231ps %%ymm15, %%ymm14, %%ymm" #sum "\n\t"
#define DOT512(sum) "vpdpbusd %%zmm15, %%zmm14, %%zmm" #sum "\n\t"
#define DOT256(sum) "%{vex%} vpdpbusd %%ymm15, %%ymm14, %%ymm" #sum "\n\t"
#define TILES(sum) "tdpbusd %%tmm7, %%tmm6, %%tmm" #sum "\n\t"
#define INNER 4096
#define ASK_FOR_PERMISSION 0x1023 /* ARCH_REQ_XCOMP_PERM */
#define TILE_DATA 18              /* XFEATURE_XTILEDATA */

typedef long (*kernel)(void); /* runs INNER times its block, returns the multiply-adds (or cycles) done */

static long pairs(void) {
    for (int i = 0; i < INNER; i++) __asm__ volatile(SIX_PAIRS SIX_PAIRS ::: CLOBBERED);
    return 12L * 32 * INNER;
}

static long floats(void) {
    for (int i = 0; i < INNER; i++) __asm__ volatile(TWELVE(FMA) ::: CLOBBERED);
    return 12L * 8 * INNER;
}

static long dot512(void) {
    for (int i = 0; i < INNER; i++) __asm__ volatile(TWELVE(DOT512) ::: CLOBBERED);
    return 12L * 64 * INNER;
}

static long dot256(void) {
    for (int i = 0; i < INNER; i++) __asm__ volatile(TWELVE(DOT256) ::: CLOBBERED);
    return 12L * 32 * INNER;
}

/* Each instruction multiplies 16 rows of 64 bytes by 64 rows of 16. */
static long tiles(void) {
    for (int i = 0; i < INNER / 64; i++)
        __asm__ volatile(TILES(0) TILES(1) TILES(2) TILES(3) TILES(4) TILES(5) ::: "memory");
    return 6L * 16 * 16 * 64 * (INNER / 64);
}

/* Eight tiles of 16 rows of 64 bytes, all zero; Linux lends them on request. */
static void take_tiles(void) {
    struct {
        uint8_t palette, row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = 16;
    if (syscall(SYS_arch_prctl, ASK_FOR_PERMISSION, TILE_DATA)) {
        fprintf(stderr, "The kernel lends no tiles.\n");
        exit(1);
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(shape));
}

/* A chain of dependent multiplications takes three cycles each; additions of constants are folded by some CPUs. */
static long cycles(void) {
    uint64_t x = 1;
    for (int i = 0; i < INNER; i++)
        __asm__ volatile("imul %0, %0\n\timul %0, %0\n\timul %0, %0\n\timul %0, %0" : "+r"(x));
    return 3L * 4 * INNER;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

struct job {
    kernel run;
    double seconds, rate;
};

static void *work(void *given) {
    struct job *job = given;
    if (job->run == tiles) take_tiles();
    double begun = now(), passed;
    long done = 0;
    __asm__ volatile("vzeroall" ::: CLOBBERED, "xmm13", "xmm14", "xmm15");
    do {
        done += job->run();
        passed = now() - begun;
    } while (passed < job->seconds);
    if (job->run == tiles) __asm__ volatile("tilerelease");
    job->rate = done / passed / 1e9;
    return NULL;
}

/* Sum over the threads. */
static double measure(kernel run, int threads, double seconds) {
    pthread_t handles[256];
    struct job jobs[256];
    double sum = 0;
    for (int i = 0; i < threads; i++) {
        jobs[i] = (struct job){run, seconds, 0};
        if (pthread_create(&handles[i], NULL, work, &jobs[i])) exit(1);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(handles[i], NULL);
        sum += jobs[i].rate;
    }
    return sum;
}

int main(int count, char **words) {
    if (count < 3) return 2;
    int threads = atoi(words[1]);
    double seconds = atof(words[2]);
    if (threads < 1 || threads > 256) return 2;
    printf("{\"ghz\": %.4f", measure(cycles, threads, seconds) / threads);
    printf(", \"fp32\": %.3f", measure(floats, threads, seconds));
    printf(", \"pairs\": %.3f", measure(pairs, threads, seconds));
    for (int i = 3; i < count; i++) {
        if (!strcmp(words[i], "vnni512")) printf(", \"vnni\": %.3f", measure(dot512, threads, seconds));
        if (!strcmp(words[i], "vnni256")) printf(", \"vnni\": %.3f", measure(dot256, threads, seconds));
        if (!strcmp(words[i], "amx")) printf(", \"amx\": %.3f", measure(tiles, threads, seconds));
    }
    printf("}\n");
    return 0;
}
