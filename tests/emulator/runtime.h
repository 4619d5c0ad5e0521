// CUDA C++ for the host's compiler: what NVRTC provides without any header, forced into every emulated kernel.
#pragma once
#include <math.h>
#include <stddef.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define alignas(n) __attribute__((aligned(n)))  // unlike the keyword, may follow __shared__
#define __grid_constant__

// --- vector types ------------------------------------------------------------------------------------------
#define EMULATOR_VECTORS(T, NAME)                                                                              \
    struct alignas(2 * sizeof(T)) NAME##2 { T x, y; };                                                         \
    struct NAME##3 { T x, y, z; };                                                                             \
    struct alignas(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) NAME##4 { T x, y, z, w; };                              \
    inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                                                 \
    inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }                                         \
    inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }

EMULATOR_VECTORS(signed char, char)
EMULATOR_VECTORS(unsigned char, uchar)
EMULATOR_VECTORS(short, short)
EMULATOR_VECTORS(unsigned short, ushort)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(unsigned, uint)
EMULATOR_VECTORS(long long, longlong)
EMULATOR_VECTORS(unsigned long long, ulonglong)
EMULATOR_VECTORS(float, float)
EMULATOR_VECTORS(double, double)
#undef EMULATOR_VECTORS

struct dim3 { unsigned x = 1, y = 1, z = 1; };

#define EMULATOR_EXPORT __attribute__((used, visibility("default")))

// --- what server.cpp provides ------------------------------------------------------------------------------
extern "C" {
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
extern unsigned char emulator_dynamic_shared[];

// Ends the launch with this text as its error.
[[noreturn]] void emulator_fault(const char* format, ...);
// Waits for all threads of the block at the same source line; returns for how many `predicate` holds.
int emulator_barrier(int line, int predicate);
// Waits for the lanes in `mask`; the last one calls perform(lanes) with every lane's argument (null outside).
void emulator_collective(const char* name, unsigned mask, void* lane, void (*perform)(void** lanes));
// Faults unless all bytes lie in this block's shared memory at an address of that alignment.
void emulator_require_shared(const void* p, size_t bytes, const char* what);
// Faults unless the bytes may be accessed; atomics do not race.
void emulator_atomic(const void* p, size_t bytes);
void emulator_copy(void* smem, const void* gmem, int bytes, bool valid);
void emulator_commit();
void emulator_wait(int newest);
// Those of wgmma, whose groups are told what they read, 16 bytes at a time: faults where a write of that has not been
// fenced by its thread, or comes before the wait.
void emulator_fence_for_wgmma();
void emulator_wgmma_read(const void* p);
void emulator_wgmma_commit();
void emulator_wgmma_wait(int newest);

// The bounds of this module's static shared memory: kernels have no other zero-initialised variables.
extern unsigned char __bss_start[] __attribute__((visibility("hidden"))), _end[] __attribute__((visibility("hidden")));
inline EMULATOR_EXPORT void emulator_static_shared(unsigned char** begin, unsigned char** end) {
    *begin = __bss_start;
    *end = _end;
}
}

// Calls an entry point with arguments given as pointers to their bytes.
template <class... Params, size_t... I, template <size_t...> class Indices>
void emulator_call(void (*kernel)(Params...), void** arguments, Indices<I...>) {
    kernel(*(Params*)arguments[I]...);
}
template <size_t... I> struct emulator_indices {};
template <class... Params>
void emulator_entry_point(void (*kernel)(Params...), void** arguments, size_t* sizes) {
    size_t expected[] = {sizeof(Params)..., 0};
    if (sizes) memcpy(sizes, expected, sizeof expected);
    else emulator_call(kernel, arguments, emulator_indices<__integer_pack(sizeof...(Params))...>{});
}
// With `sizes`: only writes the sizes of the parameters, ended by 0.
#define EMULATOR_ENTRY_POINT(kernel)                                                                           \
    extern "C" EMULATOR_EXPORT void emulator_entry(void** arguments, size_t* sizes) {                          \
        emulator_entry_point(kernel, arguments, sizes);                                                        \
    }

// --- barriers, votes, shuffles -----------------------------------------------------------------------------
#define __syncthreads() ((void)emulator_barrier(__LINE__, 0))
#define __syncthreads_count(p) emulator_barrier(__LINE__, (p) != 0)
#define __syncthreads_or(p) (emulator_barrier(__LINE__, (p) != 0) != 0)
#define __syncthreads_and(p) (emulator_barrier(__LINE__, (p) == 0) == 0)

inline void __syncwarp(unsigned mask = 0xffffffffu) {
    emulator_collective("__syncwarp", mask, &mask, [](void**) {});
}

struct emulator_vote { bool predicate; unsigned ballot; };
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    emulator_vote vote{predicate != 0, 0};
    emulator_collective("vote", mask, &vote, [](void** lanes) {
        unsigned ballot = 0;
        for (int i = 0; i < 32; ++i)
            if (lanes[i] && ((emulator_vote*)lanes[i])->predicate) ballot |= 1u << i;
        for (int i = 0; i < 32; ++i)
            if (lanes[i]) ((emulator_vote*)lanes[i])->ballot = ballot;
    });
    return vote.ballot;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

inline unsigned emulator_lane() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
}

// A lane that reads from one outside the mask gets all bits set.
template <class T> struct emulator_shuffle { T value; int source; T result; };
template <class T> T emulator_shuffle_from(const char* name, unsigned mask, T value, int source) {
    emulator_shuffle<T> lane{value, source, value};
    emulator_collective(name, mask, &lane, [](void** lanes) {
        for (int i = 0; i < 32; ++i) {
            if (!lanes[i]) continue;
            auto& to = *(emulator_shuffle<T>*)lanes[i];
            auto* from = (emulator_shuffle<T>*)lanes[to.source];
            if (from) to.result = from->value;
            else memset(&to.result, 0xff, sizeof(T));
        }
    });
    return lane.result;
}
template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    return emulator_shuffle_from("__shfl_sync", mask, value, (emulator_lane() & ~(width - 1)) + (source & (width - 1)));
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32) {
    int lane = emulator_lane(), source = lane ^ lane_mask, end = (lane | (width - 1)) + 1;
    return emulator_shuffle_from("__shfl_xor_sync", mask, value, source < end ? source : lane);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = emulator_lane(), source = lane + delta, end = (lane | (width - 1)) + 1;
    return emulator_shuffle_from("__shfl_down_sync", mask, value, source < end ? source : lane);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = emulator_lane(), source = lane - (int)delta, begin = lane & ~(width - 1);
    return emulator_shuffle_from("__shfl_up_sync", mask, value, source >= begin ? source : lane);
}

// --- atomics and fences: threads switch only at barriers and collectives -----------------------------------
#define EMULATOR_ATOMIC template <class T> __attribute__((no_sanitize_address)) T
EMULATOR_ATOMIC atomicAdd(T* p, decltype(T()) v) { emulator_atomic(p, sizeof(T)); T old = *p; *p = old + v; return old; }
EMULATOR_ATOMIC atomicSub(T* p, decltype(T()) v) { emulator_atomic(p, sizeof(T)); T old = *p; *p = old - v; return old; }
EMULATOR_ATOMIC atomicExch(T* p, decltype(T()) v) { emulator_atomic(p, sizeof(T)); T old = *p; *p = v; return old; }
EMULATOR_ATOMIC atomicMax(T* p, decltype(T()) v) { emulator_atomic(p, sizeof(T)); T old = *p; *p = v > old ? v : old; return old; }
EMULATOR_ATOMIC atomicMin(T* p, decltype(T()) v) { emulator_atomic(p, sizeof(T)); T old = *p; *p = v < old ? v : old; return old; }
EMULATOR_ATOMIC atomicOr(T* p, decltype(T()) v) { emulator_atomic(p, sizeof(T)); T old = *p; *p = old | v; return old; }
EMULATOR_ATOMIC atomicAnd(T* p, decltype(T()) v) { emulator_atomic(p, sizeof(T)); T old = *p; *p = old & v; return old; }
EMULATOR_ATOMIC atomicCAS(T* p, decltype(T()) expected, decltype(T()) v) {
    emulator_atomic(p, sizeof(T));
    T old = *p;
    if (old == expected) *p = v;
    return old;
}
inline void __threadfence() {}
inline void __threadfence_block() {}
[[noreturn]] inline void __trap() { emulator_fault("__trap()"); }

// --- intrinsics --------------------------------------------------------------------------------------------
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> T __ldcg(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
template <class T> void __stcg(T* p, T v) { *p = v; }

template <class To, class From> To emulator_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
inline unsigned __float_as_uint(float x) { return emulator_bits<unsigned>(x); }
inline int __float_as_int(float x) { return emulator_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emulator_bits<float>(x); }
inline float __int_as_float(int x) { return emulator_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulator_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulator_bits<double>(x); }

inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
inline int __mulhi(int a, int b) { return (long long)a * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }

inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }

#define EMULATOR_MIN_MAX(T)                                                                                    \
    inline T min(T a, T b) { return a < b ? a : b; }                                                           \
    inline T max(T a, T b) { return a > b ? a : b; }
EMULATOR_MIN_MAX(int)
EMULATOR_MIN_MAX(unsigned)
EMULATOR_MIN_MAX(long)
EMULATOR_MIN_MAX(unsigned long)
EMULATOR_MIN_MAX(long long)
EMULATOR_MIN_MAX(unsigned long long)
#undef EMULATOR_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
