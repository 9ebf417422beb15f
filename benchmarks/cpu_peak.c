/* What the arithmetic units of this CPU do at most, on so many threads: prints one JSON object.

   cpu_peak THREADS SECONDS [vnni512|vnni256]

   Each loop keeps several independent chains of instructions in registers, so that neither memory nor latency counts.
   "pairs" is INT8 without VNNI: vpmaddubsw (u8 x s8, pairs summed in 16 bits), vpmaddwd (pairs summed in 32 bits), vpaddd. */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
#define INNER 4096

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

/* A chain of dependent additions takes one cycle each. */
static long cycles(void) {
    uint64_t x = 0;
    for (int i = 0; i < INNER; i++)
        __asm__ volatile("add $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\t"
                         "add $1, %0\n\tadd $1, %0"
                         : "+r"(x));
    return 8L * INNER;
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
    double begun = now(), passed;
    long done = 0;
    __asm__ volatile("vzeroall" ::: CLOBBERED, "xmm13", "xmm14", "xmm15");
    do {
        done += job->run();
        passed = now() - begun;
    } while (passed < job->seconds);
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
    if (count > 3) printf(", \"vnni\": %.3f", measure(strcmp(words[3], "vnni512") ? dot256 : dot512, threads, seconds));
    printf("}\n");
    return 0;
}
