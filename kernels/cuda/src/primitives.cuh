// Device primitives: all inline PTX of the project. The emulator (tests/emulator/twins.h) replaces the part
// under __CUDACC__ by host functions of the same names and meanings. Needs no CUDA header.
//
// CuPy compiles with -ftz=true, so C operators on float flush subnormal values; the *_rn functions do not.
#ifndef BACKSTRIDE_PRIMITIVES
#define BACKSTRIDE_PRIMITIVES

#define DEVICE __device__ __forceinline__

// cp.async and every mma but mma_m16n8k8_f16 need sm_80.
#define HAS_CP_ASYNC (__CUDA_ARCH__ >= 800)

// Storage types as their bits: 16-bit values are loaded as float and rounded once when stored.
struct float16 {
    unsigned short bits;
};
struct bfloat16 {
    unsigned short bits;
};

// N values moved by one load or store of sizeof(T) * N (at most 16) bytes; the address must be so aligned.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
    T at[N];
};

#ifdef __CUDACC__

DEVICE unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// A descriptor of wgmma's.
struct Pieces {
    unsigned long long bits;
};

// --- asynchronous copies ---------------------------------------------------------------------------------
// Copies Bytes (4, 8, 16; both addresses so aligned) from global to shared memory, or writes zeros where
// `valid` is false; gmem must lie inside its tensor even then. The bytes are there for the copying thread
// after the cp_async_wait that covers their group, for other threads after a barrier that follows it.
// Before sm_80 the copy is immediate.
template <int Bytes>
DEVICE void cp_async(void* smem, const void* gmem, bool valid) {
    static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async copies 4, 8 or 16 bytes");
#if !HAS_CP_ASYNC
    using Word = Vec<unsigned, Bytes / 4>;
    *(Word*)smem = valid ? *(const Word*)gmem : Word{};
#else
    int size = valid ? Bytes : 0;
    if constexpr (Bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(smem)), "l"(gmem), "r"(size)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(smem)), "l"(gmem), "n"(Bytes),
                     "r"(size)
                     : "memory");
#endif
}

// Closes the group of this thread's copies so far (it may be empty).
DEVICE void cp_async_commit() {
#if HAS_CP_ASYNC
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most N of this thread's newest groups are still under way.
template <int N>
DEVICE void cp_async_wait() {
#if HAS_CP_ASYNC
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// condition ? x : 0 in 32 bits, of an offset that becomes a 64-bit address: compilers would rather choose between two
// of those.
DEVICE int only_if(bool condition, int x) {
    int y;
    asm("{.reg .pred p; setp.ne.u32 p, %1, 0; selp.s32 %0, %2, 0, p;}" : "=r"(y) : "r"((unsigned)condition), "r"(x));
    return y;
}

// blockIdx.x, which the compiler does not know to be the same. What follows from it is worked out again after the
// products: kept over them, it costs registers.
DEVICE int block_index_again() {
    int x;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(x));
    return x;
}

// The value at an aligned global address, or zeros without reading where `valid` is false; without a branch, so that the
// address is worked out ahead. Nothing may write there during the kernel.
template <class T>
DEVICE T load_if(bool valid, const T* gmem) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16, "one load");
    T value;
    unsigned p = valid;
    if constexpr (sizeof(T) == 2) {
        asm volatile("{.reg .pred p; setp.ne.u32 p, %2, 0; mov.u16 %0, 0; @p ld.global.u16 %0, [%1];}"
                     : "=h"((unsigned short&)value)
                     : "l"(gmem), "r"(p));
    } else if constexpr (sizeof(T) == 4) {
        asm volatile("{.reg .pred p; setp.ne.u32 p, %2, 0; mov.u32 %0, 0; @p ld.global.u32 %0, [%1];}"
                     : "=r"((unsigned&)value)
                     : "l"(gmem), "r"(p));
    } else if constexpr (sizeof(T) == 8) {
        asm volatile("{.reg .pred p; setp.ne.u32 p, %2, 0; mov.u64 %0, 0; @p ld.global.u64 %0, [%1];}"
                     : "=l"((unsigned long long&)value)
                     : "l"(gmem), "r"(p));
    } else {
        auto& to = (Vec<unsigned, 4>&)value;
        asm volatile(
            "{.reg .pred p; setp.ne.u32 p, %5, 0; mov.u32 %0, 0; mov.u32 %1, 0; mov.u32 %2, 0; mov.u32 %3, 0;"
            "@p ld.global.v4.u32 {%0, %1, %2, %3}, [%4];}"
            : "=r"(to.at[0]), "=r"(to.at[1]), "=r"(to.at[2]), "=r"(to.at[3])
            : "l"(gmem), "r"(p));
    }
    return value;
}

// --- matrix fragments ------------------------------------------------------------------------------------
// Warp-collective. Loads four 8x8 matrices of 16-bit elements: lanes 8i..8i+7 give the addresses of the rows
// (16 bytes, 16-byte aligned) of matrix i. With g = lane / 4 and t = lane % 4, d[i] then holds elements
// (g, 2t) and (g, 2t+1) of matrix i in its low and high half; _trans: of the transposed matrix.
DEVICE void ldmatrix_x4(unsigned (&d)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(shared_address(row))
                 : "memory");
}

DEVICE void ldmatrix_x4_trans(unsigned (&d)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// --- tensor cores: d += a b, warp-collective -------------------------------------------------------------
// With g = lane / 4 and t = lane % 4 the m16n8 accumulator is d[0..3] = (g, 2t), (g, 2t+1), (g+8, 2t),
// (g+8, 2t+1). Two 16-bit operands share a register, the smaller k in the low half.

// a[0..3] = (m, k) at (g, t), (g+8, t), (g, t+4), (g+8, t+4); b[0..1] = (k, n) at (t, g), (t+4, g).
DEVICE void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if HAS_CP_ASYNC
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// a[0..3] = (m, k) at (g, 2t..), (g+8, 2t..), (g, 2t+8..), (g+8, 2t+8..); b[0..1] = (2t.., g), (2t+8.., g).
DEVICE void mma_m16n8k16_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if HAS_CP_ASYNC
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Fragments as mma_m16n8k16_f16.
DEVICE void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if HAS_CP_ASYNC
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// a[0..1] = (m, k) at (g, 2t..), (g+8, 2t..); b = (2t.., g).
DEVICE void mma_m16n8k8_f16(float (&d)[4], const unsigned (&a)[2], unsigned b) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
}

// a = (g, t), b = (t, g), d[0..1] = (g, 2t), (g, 2t+1).
DEVICE void mma_m8n8k4_f64(double (&d)[2], double a, double b) {
#if HAS_CP_ASYNC
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
        : "+d"(d[0]), "+d"(d[1])
        : "d"(a), "d"(b));
#endif
}

// --- tensor cores of a warpgroup (sm_90a) ----------------------------------------------------------------
// A matrix in shared memory in pieces of 8 rows or columns by 16 bytes, 128 bytes each, 16-byte aligned: `along_k` and
// `across` are the bytes from a piece to the next one along k and along its rows (of A) or columns (of B).
DEVICE Pieces pieces(const void* start, int along_k, int across) {
    unsigned low = (shared_address(start) & 0x3ffffu) >> 4 | (unsigned)(along_k >> 4) << 16;
    return {(unsigned long long)(across >> 4) << 32 | low};
}

// Shared memory that this thread has written, or filled by copies it has waited for, may be read by wgmma after the
// next barrier.
DEVICE void fence_for_wgmma() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Before the first wgmma, and after any other use of its registers.
DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Closes the group of the wgmmas so far.
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most N of the newest groups are still under way; only then may what they read be written again.
template <int N>
DEVICE void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// The compiler moves no use of the register past this: above a wgmma_wait, or below a wgmma_fence.
template <class T>  // float: in a text for another dtype it is named, and not called
DEVICE void wgmma_hold(T& d) {
    asm volatile("" : "+f"(d)::"memory");
}

// Warp w of the warpgroup holds rows 16w..16w+15 of the 64 x N accumulator, N = 64 or 128; as in mma, low[j] is
// (g, 8i + 2t + j%2) of them and high[j] (g+8, 8i + 2t + j%2), where i = j/2.
#define WGMMA_COLUMNS(j)                                                                                  \
    "+f"(low[j]), "+f"(low[j + 1]), "+f"(high[j]), "+f"(high[j + 1]), "+f"(low[j + 2]), "+f"(low[j + 3]), \
        "+f"(high[j + 2]), "+f"(high[j + 3])
#define WGMMA_COLUMNS_64(j) WGMMA_COLUMNS(j), WGMMA_COLUMNS(j + 4), WGMMA_COLUMNS(j + 8), WGMMA_COLUMNS(j + 12)
#define WGMMA_COLUMNS_128 WGMMA_COLUMNS_64(0), WGMMA_COLUMNS_64(16)
#define WGMMA_REGISTERS_64                                                                                       \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28," \
    "%29,%30,%31"
#define WGMMA_REGISTERS_128                                                                                     \
    WGMMA_REGISTERS_64                                                                                          \
    ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57," \
    "%58,%59,%60,%61,%62,%63"
#define WGMMA(SHAPE, REGISTERS, ADD, OPERANDS)                                                                        \
    "{.reg .pred add; setp.ne.b32 add, " ADD ", 0; wgmma.mma_async.sync.aligned." SHAPE " {" REGISTERS "}, " OPERANDS \
    ";}"

// Queues d += a b for 16 values of k, 16-bit. ALONG_K: the 16 bytes of a piece lie along k.
#define WGMMA_16BIT(OPERAND, TYPE)                                                                            \
    template <bool A_ALONG_K, bool B_ALONG_K>                                                                 \
    DEVICE void wgmma(float (&low)[16], float (&high)[16], Pieces a, Pieces b, OPERAND) {                     \
        asm volatile(WGMMA("m64n64k16.f32." TYPE, WGMMA_REGISTERS_64, "1", "%32, %33, add, 1, 1, %34, %35")   \
                     : WGMMA_COLUMNS_64(0)                                                                    \
                     : "l"(a.bits), "l"(b.bits), "n"(!A_ALONG_K), "n"(!B_ALONG_K)                             \
                     : "memory");                                                                             \
    }                                                                                                         \
    template <bool A_ALONG_K, bool B_ALONG_K>                                                                 \
    DEVICE void wgmma(float (&low)[32], float (&high)[32], Pieces a, Pieces b, OPERAND) {                     \
        asm volatile(WGMMA("m64n128k16.f32." TYPE, WGMMA_REGISTERS_128, "1", "%64, %65, add, 1, 1, %66, %67") \
                     : WGMMA_COLUMNS_128                                                                      \
                     : "l"(a.bits), "l"(b.bits), "n"(!A_ALONG_K), "n"(!B_ALONG_K)                             \
                     : "memory");                                                                             \
    }
WGMMA_16BIT(float16, "f16.f16")
WGMMA_16BIT(bfloat16, "bf16.bf16")

// Queues d = a b, or d += a b where `add`, for 8 values of k by TF32. a: each warp's 16 rows as in mma_m16n8k8_tf32; b's
// pieces lie along k.
DEVICE void wgmma(float (&low)[16], float (&high)[16], const unsigned (&a)[4], Pieces b, bool add, float) {
    asm volatile(WGMMA("m64n64k8.f32.tf32.tf32", WGMMA_REGISTERS_64, "%37", "{%32, %33, %34, %35}, %36, add, 1, 1")
                 : WGMMA_COLUMNS_64(0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "r"((int)add)
                 : "memory");
}
DEVICE void wgmma(float (&low)[32], float (&high)[32], const unsigned (&a)[4], Pieces b, bool add, float) {
    asm volatile(WGMMA("m64n128k8.f32.tf32.tf32", WGMMA_REGISTERS_128, "%69", "{%64, %65, %66, %67}, %68, add, 1, 1")
                 : WGMMA_COLUMNS_128
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "r"((int)add)
                 : "memory");
}

// --- conversions -----------------------------------------------------------------------------------------
DEVICE float f16_to_float(unsigned short bits) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(bits));
    return y;
}

DEVICE unsigned short float_to_f16(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// --- float32 arithmetic that keeps subnormal values --------------------------------------------------------
DEVICE float fma_rn(float a, float b, float c) {
    float y;
    asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(y) : "f"(a), "f"(b), "f"(c));
    return y;
}

DEVICE float add_rn(float a, float b) {
    float y;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}

DEVICE float mul_rn(float a, float b) {
    float y;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}

DEVICE float div_rn(float a, float b) {
    float y;
    asm("div.rn.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}

DEVICE float sqrt_rn(float x) {
    float y;
    asm("sqrt.rn.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE bool greater(float a, float b) {
    unsigned y;
    asm("{.reg .pred p; setp.gt.f32 p, %1, %2; selp.u32 %0, 1, 0, p;}" : "=r"(y) : "f"(a), "f"(b));
    return y;
}

// Max pooling's step: `value`, found at `at`, replaces `best` if it is greater or NaN.
DEVICE void keep_greater(float& best, int& best_at, float value, int at) {
    asm("{.reg .pred p; setp.nan.f32 p, %2, %2; setp.gt.or.f32 p, %2, %0, p;"
        "selp.f32 %0, %2, %0, p; selp.b32 %1, %3, %1, p;}"
        : "+f"(best), "+r"(best_at)
        : "f"(value), "r"(at));
}

// Operators on double may be contracted to fma; these are not.
DEVICE double add_rn(double a, double b) {
    double y;
    asm("add.rn.f64 %0, %1, %2;" : "=d"(y) : "d"(a), "d"(b));
    return y;
}

DEVICE double mul_rn(double a, double b) {
    double y;
    asm("mul.rn.f64 %0, %1, %2;" : "=d"(y) : "d"(a), "d"(b));
    return y;
}

#endif  // __CUDACC__

DEVICE double fma_rn(double a, double b, double c) { return fma(a, b, c); }
DEVICE double div_rn(double a, double b) { return a / b; }
DEVICE double sqrt_rn(double x) { return sqrt(x); }
DEVICE bool greater(double a, double b) { return a > b; }

DEVICE void keep_greater(double& best, int& best_at, double value, int at) {
    if (!(value > best || value != value)) return;
    best = value;
    best_at = at;
}

// bfloat16 is the upper half of a float; rounds to nearest even, NaN stays NaN.
DEVICE unsigned short float_to_bf16(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// How a stored type is computed with: in Storage<T>::acc, converted by load and, with one rounding, by store.
template <class T> struct Storage;

template <> struct Storage<float> {
    using acc = float;
    static DEVICE float load(float x) { return x; }
    static DEVICE float store(float x) { return x; }
};

template <> struct Storage<double> {
    using acc = double;
    static DEVICE double load(double x) { return x; }
    static DEVICE double store(double x) { return x; }
};

template <> struct Storage<float16> {
    using acc = float;
    static DEVICE float load(float16 x) { return f16_to_float(x.bits); }
    static DEVICE float16 store(float x) { return {float_to_f16(x)}; }
};

template <> struct Storage<bfloat16> {
    using acc = float;
    static DEVICE float load(bfloat16 x) { return __uint_as_float((unsigned)x.bits << 16); }
    static DEVICE bfloat16 store(float x) { return {float_to_bf16(x)}; }
};

// Values of other lanes of a full warp; all 32 lanes must call.
template <class T> DEVICE T shuffle_down(T x, int lanes) { return __shfl_down_sync(0xffffffffu, x, lanes); }
template <class T> DEVICE T shuffle_xor(T x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }

#endif  // BACKSTRIDE_PRIMITIVES
