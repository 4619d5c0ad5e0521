// Finds conflicting accesses to shared memory that no barrier separates.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

// Who accessed a byte when: `epoch` counts barriers of the block, `warp_epoch` __syncwarps of the thread's warp.
struct Access {
    uint64_t epoch = 0;
    uint32_t warp_epoch = 0;
    int thread = -1;
    uint32_t fences = 0;  // that the thread had performed

    bool unordered_with(const Access& later) const {
        if (epoch != later.epoch || thread == later.thread) return false;
        return thread / 32 != later.thread / 32 || warp_epoch == later.warp_epoch;
    }
};

// The accesses to one range of memory. Two readers of a byte are remembered, from two warps if there are such.
class AccessHistory {
    struct Byte { Access write, read, other_read; };
    std::vector<Byte> bytes;

public:
    struct Race { bool found, earlier_was_write; int thread; };

    void resize(size_t size) { bytes.resize(size); }
    const Access& last_write(size_t offset) const { return bytes[offset].write; }

    Race record(size_t offset, size_t count, bool write, const Access& now) {
        Race race{};
        for (Byte* byte = &bytes[offset]; byte != &bytes[offset] + count; ++byte) {
            if (byte->write.unordered_with(now)) race = {true, true, byte->write.thread};
            if (write) {
                for (const Access& read : {byte->read, byte->other_read})
                    if (read.unordered_with(now)) race = {true, false, read.thread};
                byte->write = now;
            } else {
                if (byte->read.thread / 32 != now.thread / 32) byte->other_read = byte->read;
                byte->read = now;
            }
        }
        return race;
    }
};
