// What NVRTC knows without a header, as far as the kernels use it, for editors and checkers that know CUDA alone:
// kernels/compile_flags.txt includes it, no kernel does.
#ifndef BACKSTRIDE_BUILTINS
#define BACKSTRIDE_BUILTINS

#define __CUDACC__

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))

struct uint3 {
    unsigned x, y, z;
};
extern __device__ const uint3 threadIdx, blockIdx;

typedef decltype(sizeof(0)) size_t;

__device__ int min(int a, int b);
__device__ int max(int a, int b);
__device__ long long min(long long a, long long b);
__device__ float fabsf(float x);
__device__ float fminf(float a, float b);
__device__ float fmaxf(float a, float b);
__device__ double fma(double a, double b, double c);
__device__ double sqrt(double x);
__device__ float expf(float x);
__device__ float logf(float x);
__device__ float log1pf(float x);
__device__ float tanhf(float x);
__device__ float erfcf(float x);
__device__ double exp(double x);
__device__ double log(double x);
__device__ double log1p(double x);
__device__ double tanh(double x);
__device__ double erfc(double x);
__device__ unsigned __umulhi(unsigned a, unsigned b);
__device__ unsigned __float_as_uint(float x);
__device__ float __uint_as_float(unsigned bits);
__device__ size_t __cvta_generic_to_shared(const void* p);
__device__ void __syncthreads();
__device__ int __syncthreads_or(int predicate);
__device__ void __syncwarp(unsigned lanes = 0xffffffffu);
__device__ int __any_sync(unsigned lanes, int predicate);
template <class T>
__device__ T __shfl_down_sync(unsigned lanes, T x, unsigned distance);
template <class T>
__device__ T __shfl_xor_sync(unsigned lanes, T x, int mask);

#endif  // BACKSTRIDE_BUILTINS
