// Runs emulated kernels: reads launches from stdin (see module.py), answers each with one byte on stdout.
// Threads of a block are fibers that switch only at barriers and warp collectives, in random order. The first
// fault is described on stderr and ends the process; device memory is shared with the parent and outlives it.
#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <numeric>
#include <random>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

#include <sanitizer/asan_interface.h>

#include "races.h"
#include "runtime.h"

constexpr size_t kStack = 256 << 10, kDynamicShared = 256 << 10;

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
alignas(1024) unsigned char emulator_dynamic_shared[kDynamicShared];

namespace {

struct Copy { void* to; const void* from; int bytes; bool valid; };
struct WgmmaRead { uintptr_t from; uint64_t epoch; };

enum State { kReady, kAtBarrier, kAtCollective, kFinished };

struct Fiber {
    ucontext_t context;
    char* stack;
    uint3 index;
    State state;
    int line, predicate;  // at a barrier
    const char* collective; unsigned mask; void* lane;  // at a warp collective
    std::deque<std::vector<Copy>> groups;  // cp.async groups under way, oldest first; the last is open
    std::deque<std::vector<WgmmaRead>> wgmma_groups;  // the same of wgmma's
    uint32_t fences;  // for wgmma, so far
};

struct Allocation { uint64_t address, size; };

struct Launch {
    std::string library, name;
    uint32_t grid[3], block[3], shared, seed;
    std::vector<std::vector<char>> parameters;
    std::vector<Allocation> live;
};

using Entry = void (*)(void** arguments, size_t* sizes);

Launch launch;
Entry entry;
std::vector<void*> arguments;
std::vector<Fiber> fibers;  // of the running block, by linear thread index; grows, never shrinks
int threads;
Fiber* current;  // null between blocks
ucontext_t scheduler;
const void* scheduler_stack;
size_t scheduler_stack_size;
std::vector<Fiber*> ready;
int votes;
unsigned char *static_begin, *static_end;
AccessHistory dynamic_history, static_history;
uint64_t epoch;  // barriers opened and blocks begun since the process started
uint64_t block_epoch;  // when this block began
std::vector<uint32_t> warp_epochs;
size_t shadow_scale, shadow_offset;  // ASan's: a byte tells of 2^scale bytes, 0 that all are accessible
std::mt19937 random_bits;

void print_place() {
    if (!current) return;
    fprintf(stderr, "FAULT in %s, block (%u, %u, %u), thread (%u, %u, %u)\n", launch.name.c_str(), blockIdx.x,
            blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
}

[[noreturn]] void end_process() {
    fflush(stderr);
    _exit(3);
}

// --- fibers ------------------------------------------------------------------------------------------------
void to_scheduler(Fiber& from, bool last) {
    void* fake_stack = nullptr;
    __sanitizer_start_switch_fiber(last ? nullptr : &fake_stack, scheduler_stack, scheduler_stack_size);
    swapcontext(&from.context, &scheduler);
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

void run_thread() {
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
    entry(arguments.data(), nullptr);
    if (current->wgmma_groups.size() > 1 || !current->wgmma_groups[0].empty())
        emulator_fault("the thread ends while wgmma is under way");
    current->state = kFinished;
    to_scheduler(*current, true);
}

void resume(Fiber& to) {
    current = &to;
    threadIdx = to.index;
    void* fake_stack;
    __sanitizer_start_switch_fiber(&fake_stack, to.stack, kStack);
    swapcontext(&scheduler, &to.context);
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

void start(Fiber& fiber, uint3 index) {
    fiber.index = index;
    fiber.state = kReady;
    fiber.groups.assign(1, {});
    fiber.wgmma_groups.assign(1, {});
    fiber.fences = 0;
    getcontext(&fiber.context);
    fiber.context.uc_stack = {fiber.stack, 0, kStack};
    makecontext(&fiber.context, run_thread, 0);
    fiber.context.uc_stack.ss_size = 0;  // else ASan's swapcontext clears the red zones of the whole stack
    ready.push_back(&fiber);
}

char* new_stack() {
    size_t page = sysconf(_SC_PAGESIZE);
    char* low = (char*)mmap(nullptr, kStack + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(low, page, PROT_NONE);
    return low + page;
}

// --- scheduler ---------------------------------------------------------------------------------------------
std::string place(const Fiber& fiber) {
    static const char* const states[] = {"is ready", "waits at the barrier in line ", "waits in ", "has ended"};
    std::string text = "thread (" + std::to_string(fiber.index.x) + ", " + std::to_string(fiber.index.y) + ", " +
                       std::to_string(fiber.index.z) + ") " + states[fiber.state];
    if (fiber.state == kAtBarrier) text += std::to_string(fiber.line);
    if (fiber.state == kAtCollective) text += fiber.collective;
    return text;
}

// No thread can run: opens the barrier if all of them wait at the same one.
void open_barrier() {
    auto end = fibers.begin() + threads;
    auto waiting = std::find_if(fibers.begin(), end, [](const Fiber& fiber) { return fiber.state == kAtBarrier; });
    if (waiting == end) {
        waiting = std::find_if(fibers.begin(), end, [](const Fiber& fiber) { return fiber.state != kFinished; });
        emulator_fault("deadlock: %s", place(*waiting).c_str());
    }
    for (auto fiber = fibers.begin(); fiber != end; ++fiber)
        if (fiber->state != kAtBarrier || fiber->line != waiting->line)
            emulator_fault("divergent barrier: %s while %s", place(*fiber).c_str(), place(*waiting).c_str());
    votes = 0;
    ++epoch;
    for (int i = 0; i < threads; ++i) {
        Fiber& fiber = fibers[i];
        votes += fiber.predicate;
        fiber.state = kReady;
        ready.push_back(&fiber);
    }
}

void run_block() {
    memset(emulator_dynamic_shared, 0xff, launch.shared);
    // Not memset, in whose place ASan's would object to the red zones between the arrays.
    for (volatile unsigned char* p = static_begin; p != static_end; ++p) *p = 0xff;
    block_epoch = ++epoch;
    int i = 0;
    for (uint3 index{}; index.z < blockDim.z; ++index.z)
        for (index.y = 0; index.y < blockDim.y; ++index.y)
            for (index.x = 0; index.x < blockDim.x; ++index.x) start(fibers[i++], index);
    int finished = 0;
    while (finished < threads) {
        if (ready.empty()) open_barrier();
        std::swap(ready[random_bits() % ready.size()], ready.back());
        Fiber& next = *ready.back();
        ready.pop_back();
        resume(next);
        finished += next.state == kFinished;
    }
    current = nullptr;
}

void run_grid() {
    threads = blockDim.x * blockDim.y * blockDim.z;
    while ((int)fibers.size() < threads) {
        fibers.emplace_back();
        fibers.back().stack = new_stack();
    }
    warp_epochs.assign(threads / 32 + 1, 0);
    std::vector<uint64_t> order((uint64_t)gridDim.x * gridDim.y * gridDim.z);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_bits);
    for (uint64_t block : order) {
        blockIdx = {unsigned(block % gridDim.x), unsigned(block / gridDim.x % gridDim.y),
                    unsigned(block / gridDim.x / gridDim.y)};
        run_block();
    }
}

// --- launches ----------------------------------------------------------------------------------------------
void read_bytes(void* to, size_t bytes) {
    if (bytes && fread(to, bytes, 1, stdin) != 1) exit(0);
}

uint64_t read_number() {
    uint64_t n;
    read_bytes(&n, sizeof n);
    return n;
}

template <class Buffer> void read_buffer(Buffer& buffer) {
    buffer.resize(read_number());
    read_bytes(&buffer[0], buffer.size() * sizeof buffer[0]);
}

void read_launch() {
    read_buffer(launch.library);
    read_buffer(launch.name);
    read_bytes(launch.grid, sizeof launch.grid + sizeof launch.block + sizeof launch.shared + sizeof launch.seed);
    launch.parameters.resize(read_number());
    for (auto& parameter : launch.parameters) read_buffer(parameter);
    read_buffer(launch.live);
}

void open_library() {
    void* handle = dlopen(launch.library.c_str(), RTLD_NOW);
    if (!handle) emulator_fault("%s", dlerror());
    entry = (Entry)dlsym(handle, "emulator_entry");
    auto static_shared = (void (*)(unsigned char**, unsigned char**))dlsym(handle, "emulator_static_shared");
    static_shared(&static_begin, &static_end);
    static_history.resize(static_end - static_begin);
}

void take_arguments() {
    size_t sizes[1025], count = launch.parameters.size();
    entry(nullptr, sizes);
    arguments.clear();
    for (size_t i = 0; i < count || sizes[i]; ++i) {
        size_t given = i < count ? launch.parameters[i].size() : 0;
        if (given != sizes[i])
            emulator_fault("parameter %zu of %s has %zu bytes; %zu were passed", i, launch.name.c_str(), sizes[i], given);
        arguments.push_back(launch.parameters[i].data());
    }
}

void perform_launch() {
    open_library();
    take_arguments();
    gridDim = {launch.grid[0], launch.grid[1], launch.grid[2]};
    blockDim = {launch.block[0], launch.block[1], launch.block[2]};
    random_bits.seed(launch.seed);
    for (auto& [address, size] : launch.live) __asan_unpoison_memory_region((void*)address, size);
    __asan_unpoison_memory_region(emulator_dynamic_shared, launch.shared);
    run_grid();
    for (auto& [address, size] : launch.live) __asan_poison_memory_region((void*)address, (size + 7) / 8 * 8);
    __asan_poison_memory_region(emulator_dynamic_shared, kDynamicShared);
}

// Says where the faulty access lies relative to the nearest allocation.
void describe_access(const char* what, uint64_t address, size_t bytes) {
    const char* kind = "a device array";
    Allocation nearest{(uint64_t)emulator_dynamic_shared, launch.shared};
    auto distance = [&](const Allocation& a) {
        return address < a.address ? a.address - address : address < a.address + a.size ? 0 : address - a.address - a.size;
    };
    if (address - nearest.address < kDynamicShared) kind = "dynamic shared memory";
    else
        for (auto& a : launch.live)
            if (distance(a) < distance(nearest)) nearest = a;
    bool before = address < nearest.address;
    if (distance(nearest) < 1 << 20)
        fprintf(stderr, "REASON out-of-bounds %s of %zu bytes, %llu bytes %s %s of %llu bytes\n", what, bytes,
                (unsigned long long)distance(nearest), before ? "before" : "after the end of", kind,
                (unsigned long long)nearest.size);
    else fprintf(stderr, "REASON invalid %s of %zu bytes at address %#llx\n", what, bytes, (unsigned long long)address);
}

// --- accesses ----------------------------------------------------------------------------------------------
bool in_dynamic(uintptr_t p, size_t bytes) {
    uintptr_t begin = (uintptr_t)emulator_dynamic_shared;
    return p >= begin && p + bytes <= begin + launch.shared;
}

bool in_static(uintptr_t p, size_t bytes) {
    return p >= (uintptr_t)static_begin && p + bytes <= (uintptr_t)static_end;
}

void record_shared(uintptr_t p, size_t bytes, bool write) {
    if (!current) return;
    int thread = int(current - &fibers[0]);
    Access now{epoch, warp_epochs[thread / 32], thread, current->fences};
    AccessHistory::Race race{};
    if (in_dynamic(p, bytes))
        race = dynamic_history.record(p - (uintptr_t)emulator_dynamic_shared, bytes, write, now);
    else if (in_static(p, bytes)) race = static_history.record(p - (uintptr_t)static_begin, bytes, write, now);
    if (race.found)
        emulator_fault("race on shared memory: %s of what thread %d %s with no barrier between", write ? "write" : "read",
                       race.thread, race.earlier_was_write ? "wrote" : "read");
}

// Of a byte of shared memory.
const Access& last_write(uintptr_t p) {
    return in_dynamic(p, 1) ? dynamic_history.last_write(p - (uintptr_t)emulator_dynamic_shared)
                            : static_history.last_write(p - (uintptr_t)static_begin);
}

bool accessible(uintptr_t p, size_t bytes) {
    auto shadow = [](uintptr_t q) { return *(const unsigned char*)((q >> shadow_scale) + shadow_offset); };
    if (!shadow(p) && !shadow(p + bytes - 1) && bytes <= 16) return true;
    return !__asan_region_is_poisoned((void*)p, bytes);
}

void access(uintptr_t p, size_t bytes, bool write) {
    if (!accessible(p, bytes))
        __asan_report_error(__builtin_return_address(0), __builtin_frame_address(0), nullptr, (void*)p, write, bytes);
    record_shared(p, bytes, write);
}

}  // namespace

// --- called by kernels -------------------------------------------------------------------------------------
extern "C" {

void emulator_fault(const char* format, ...) {
    print_place();
    fprintf(stderr, "REASON ");
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    fprintf(stderr, "\n");
    __sanitizer_print_stack_trace();
    end_process();
}

int emulator_barrier(int line, int predicate) {
    current->state = kAtBarrier;
    current->line = line;
    current->predicate = predicate;
    to_scheduler(*current, false);
    return votes;
}

void emulator_collective(const char* name, unsigned mask, void* lane, void (*perform)(void** lanes)) {
    Fiber& self = *current;
    self.state = kAtCollective;
    self.collective = name;
    self.mask = mask;
    self.lane = lane;
    int first = int(&self - &fibers[0]) / 32 * 32;
    if (!(mask >> (&self - &fibers[first]) & 1)) emulator_fault("%s: the calling lane is not in its own mask", name);
    void* lanes[32] = {};
    bool complete = true;
    for (int i = 0; i < 32; ++i) {
        if (!(mask >> i & 1)) continue;
        if (first + i >= threads) emulator_fault("%s: lane %d of the mask does not exist", name, i);
        const Fiber& other = fibers[first + i];
        if (other.state == kFinished) emulator_fault("%s: lane %d of the mask has ended", name, i);
        if (other.state != kAtCollective) complete = false;
        else if (other.mask != mask || strcmp(other.collective, name))
            emulator_fault("divergent warp: %s while %s", place(self).c_str(), place(other).c_str());
        else lanes[i] = other.lane;
    }
    if (complete) {
        perform(lanes);
        if (!strcmp(name, "__syncwarp")) ++warp_epochs[first / 32];
        for (int i = 0; i < 32; ++i)
            if (lanes[i]) {
                fibers[first + i].state = kReady;
                ready.push_back(&fibers[first + i]);
            }
    }
    to_scheduler(self, false);
}

void emulator_require_shared(const void* p, size_t bytes, const char* what) {
    if (!in_dynamic((uintptr_t)p, bytes) && !in_static((uintptr_t)p, bytes))
        emulator_fault("%s: %zu bytes at %p are not all in shared memory", what, bytes, p);
    if ((uintptr_t)p % bytes) emulator_fault("%s: the shared address %p is not a multiple of %zu", what, p, bytes);
}

void emulator_copy(void* smem, const void* gmem, int bytes, bool valid) {
    emulator_require_shared(smem, bytes, "cp.async");
    if ((uintptr_t)gmem % bytes) emulator_fault("cp.async: the global address %p is not a multiple of %d", gmem, bytes);
    access((uintptr_t)gmem, valid ? bytes : 1, false);  // even where nothing is read the address must be a tensor's
    access((uintptr_t)smem, bytes, true);
    memset(smem, 0xff, bytes);
    current->groups.back().push_back({smem, gmem, bytes, valid});
}

void emulator_commit() { current->groups.emplace_back(); }

void emulator_wait(int newest) {
    auto& groups = current->groups;
    for (; (int)groups.size() - 1 > newest; groups.pop_front())
        for (const Copy& copy : groups.front()) {
            record_shared((uintptr_t)copy.to, copy.bytes, true);
            if (copy.valid) memcpy(copy.to, copy.from, copy.bytes);
            else memset(copy.to, 0, copy.bytes);
        }
}

void emulator_fence_for_wgmma() { ++current->fences; }

void emulator_wgmma_read(const void* p) {
    emulator_require_shared(p, 16, "wgmma operand");
    access((uintptr_t)p, 16, false);
    for (int i = 0; i < 16; ++i) {
        const Access& write = last_write((uintptr_t)p + i);
        if (write.epoch >= block_epoch && fibers[write.thread].fences <= write.fences)
            emulator_fault("wgmma reads what thread %d wrote and has not fenced", write.thread);
    }
    current->wgmma_groups.back().push_back({(uintptr_t)p, epoch});
}

void emulator_wgmma_commit() { current->wgmma_groups.emplace_back(); }

void emulator_wgmma_wait(int newest) {
    auto& groups = current->wgmma_groups;
    for (; (int)groups.size() - 1 > newest; groups.pop_front())
        for (const WgmmaRead& read : groups.front()) {
            access(read.from, 16, false);
            for (int i = 0; i < 16; ++i) {
                const Access& write = last_write(read.from + i);
                if (write.epoch > read.epoch) emulator_fault("thread %d wrote what wgmma still reads", write.thread);
            }
        }
}

void emulator_atomic(const void* p, size_t bytes) {
    if (!accessible((uintptr_t)p, bytes)) access((uintptr_t)p, bytes, true);
}

// What the compiler's ASan instrumentation calls before each access; these take the place of the run time's.
#define EMULATOR_ACCESSES(n)                                            \
    void __asan_load##n(uintptr_t p) { access(p, n, false); }           \
    void __asan_store##n(uintptr_t p) { access(p, n, true); }
EMULATOR_ACCESSES(1)
EMULATOR_ACCESSES(2)
EMULATOR_ACCESSES(4)
EMULATOR_ACCESSES(8)
EMULATOR_ACCESSES(16)
void __asan_loadN(uintptr_t p, size_t bytes) { access(p, bytes, false); }
void __asan_storeN(uintptr_t p, size_t bytes) { access(p, bytes, true); }

// ASan's hook, before its report; an address without memory behind it has no size there.
void __asan_on_error() {
    print_place();
    if (!__asan_get_report_access_size()) return;
    describe_access(__asan_get_report_access_type() ? "write" : "read", (uint64_t)__asan_get_report_address(),
                    __asan_get_report_access_size());
}

// UBSan's hook, before its report.
void __ubsan_on_report() { print_place(); }
}

// Arguments: descriptor, base address and size of the device memory.
int main(int, char** argv) {
    void* base = (void*)strtoull(argv[2], nullptr, 0);
    size_t size = strtoull(argv[3], nullptr, 0);
    void* memory = mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, atoi(argv[1]), 0);
    if (memory != base) return perror("device memory"), 1;
    __asan_poison_memory_region(base, size);
    __asan_poison_memory_region(emulator_dynamic_shared, kDynamicShared);
    __asan_get_shadow_mapping(&shadow_scale, &shadow_offset);
    dynamic_history.resize(kDynamicShared);
    for (;;) {
        read_launch();
        perform_launch();
        putchar('.');
        fflush(stdout);
    }
}
