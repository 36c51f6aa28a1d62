// Runs blocks of fibers for emulation.hpp, and finds kernels by name.

#include "emulation.hpp"

#include <map>
#include <string>
#include <ucontext.h>
#include <vector>

namespace emulation {
namespace {

constexpr size_t STACK = 64 * 1024;
constexpr size_t SHARED = 228 * 1024;

struct Warp {
    unsigned char messages[2][32 * MESSAGE];
    unsigned arrived = 0;
    uint64_t exchanges = 0;
};

struct Fiber {
    ucontext_t context;
    std::vector<unsigned char> stack;
    Thread thread;
    bool done;
};

// The state of the block that this thread of the processor runs.
struct Machine {
    ucontext_t scheduler;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    Fiber* running = nullptr;
    dim3 block{}, block_size{}, grid_size{};
    unsigned threads = 0, arrived = 0;
    uint64_t barriers = 0, events = 0;
    std::vector<unsigned char> shared;
    const std::function<void()>* body = nullptr;
};

Machine& machine() {
    static thread_local Machine machine;
    return machine;
}

std::map<std::string, std::function<void(void**)>>& kernels() {
    static std::map<std::string, std::function<void(void**)>> kernels;
    return kernels;
}

void yield() { swapcontext(&machine().running->context, &machine().scheduler); }

void fiber_main() {
    (*machine().body)();
    machine().running->done = true;
    machine().events++;
    yield();
}

void run_block(const char* name) {
    Machine& m = machine();
    const bool reverse = std::getenv("EMULATION_ORDER") && std::string(std::getenv("EMULATION_ORDER")) == "reverse";
    std::memset(m.shared.data(), 0xff, m.shared.size());
    m.warps.assign((m.threads + 31) / 32, Warp());
    m.arrived = 0;
    for (unsigned i = 0; i < m.threads; i++) {
        Fiber& fiber = m.fibers[i];
        fiber.done = false;
        fiber.thread.rank = i;
        fiber.thread.index = {i % m.block_size.x, i / m.block_size.x % m.block_size.y, i / m.block_size.x / m.block_size.y};
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, fiber_main, 0);
    }
    for (unsigned left = m.threads; left > 0;) {
        const uint64_t before = m.events;
        for (unsigned i = 0; i < m.threads; i++) {
            Fiber& fiber = m.fibers[reverse ? m.threads - 1 - i : i];
            if (fiber.done) continue;
            m.running = &fiber;
            swapcontext(&m.scheduler, &fiber.context);
            if (fiber.done) left--;
        }
        if (m.events == before) {
            std::fprintf(stderr, "emulation: %s: some threads of a block wait for others that never come\n", name);
            std::abort();
        }
    }
}

} // namespace

const Thread& thread() { return machine().running->thread; }
const dim3& block() { return machine().block; }
const dim3& block_size() { return machine().block_size; }
const dim3& grid_size() { return machine().grid_size; }
unsigned char* dynamic_shared() { return machine().shared.data(); }

void wait_for_block() {
    Machine& m = machine();
    const uint64_t own = m.barriers;
    m.events++;
    if (++m.arrived == m.threads) {
        m.arrived = 0;
        m.barriers++;
    }
    while (m.barriers == own) yield();
}

const unsigned char* exchange(const void* message, unsigned size) {
    Machine& m = machine();
    const unsigned rank = m.running->thread.rank;
    Warp& warp = m.warps[rank / 32];
    const uint64_t own = warp.exchanges;
    unsigned char* messages = warp.messages[own % 2];
    if (size > 0) std::memcpy(messages + rank % 32 * MESSAGE, message, size);
    m.events++;
    if (++warp.arrived == 32) {
        warp.arrived = 0;
        warp.exchanges++;
    }
    while (warp.exchanges == own) yield();
    return messages;
}

Registration::Registration(const char* name, std::function<void(void**)> kernel) { kernels()[name] = std::move(kernel); }

} // namespace emulation

// Runs a kernel; 0 if there is none of this name.
extern "C" int emulation_launch(const char* name, const unsigned* grid, const unsigned* block, unsigned shared, void** arguments) {
    using namespace emulation;
    const auto kernel = kernels().find(name);
    if (kernel == kernels().end()) return 0;
    Machine& m = machine();
    m.grid_size = {grid[0], grid[1], grid[2]};
    m.block_size = {block[0], block[1], block[2]};
    m.threads = block[0] * block[1] * block[2];
    if (shared > SHARED || m.threads > 1024) {
        std::fprintf(stderr, "emulation: %s: %u bytes of shared memory, %u threads\n", name, shared, m.threads);
        std::abort();
    }
    m.shared.resize(shared);
    while (m.fibers.size() < m.threads) {
        m.fibers.emplace_back();
        m.fibers.back().stack.resize(STACK);
    }
    const std::function<void()> body = [&] { kernel->second(arguments); };
    m.body = &body;
    for (unsigned z = 0; z < grid[2]; z++) {
        for (unsigned y = 0; y < grid[1]; y++) {
            for (unsigned x = 0; x < grid[0]; x++) {
                m.block = {x, y, z};
                run_block(name);
            }
        }
    }
    return 1;
}
