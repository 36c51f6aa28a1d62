// Runs blocks of fibers for emulation.hpp, and finds kernels by name.

#include "emulation.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#ifdef __x86_64__
// Saves the registers that a call must keep on the own stack, leaves its end in *from, and goes on with the stack `to`.
extern "C" void emulation_switch(void** from, void* to);
asm(R"(
.text
.globl emulation_switch
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
#else
#include <ucontext.h>
#endif

namespace emulation {
namespace {

constexpr size_t STACK = 64 * 1024;

#ifdef __x86_64__
// Where a fiber or the scheduler goes on: the end of its stack. The system's own contexts cost two system calls a switch.
struct Context {
    void* stack_end;

    void start(std::vector<unsigned char>& stack, void (*entry)()) {
        uintptr_t top = (reinterpret_cast<uintptr_t>(stack.data()) + stack.size()) / 16 * 16 - 16;
        void** place = reinterpret_cast<void**>(top);
        *place = reinterpret_cast<void*>(entry);
        for (int i = 0; i < 6; i++) *--place = nullptr;
        stack_end = place;
    }
};

void go(Context& from, Context& to) { emulation_switch(&from.stack_end, to.stack_end); }
#else
struct Context {
    ucontext_t context;

    void start(std::vector<unsigned char>& stack, void (*entry)()) {
        getcontext(&context);
        context.uc_stack.ss_sp = stack.data();
        context.uc_stack.ss_size = stack.size();
        context.uc_link = nullptr;
        makecontext(&context, entry, 0);
    }
};

void go(Context& from, Context& to) { swapcontext(&from.context, &to.context); }
#endif

constexpr size_t SHARED = 228 * 1024;

struct Warp {
    unsigned char messages[2][32 * MESSAGE];
    unsigned arrived = 0;
    uint64_t exchanges = 0;
};

struct Fiber {
    Context context;
    std::vector<unsigned char> stack;
    Thread thread;
    bool done;
};

// The state of the block that this thread of the processor runs.
struct Machine {
    Context scheduler;
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

void yield() { go(machine().running->context, machine().scheduler); }

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
        fiber.context.start(fiber.stack, fiber_main);
    }
    // A warp runs as far as it can before the next begins.
    const unsigned warps = (m.threads + 31) / 32;
    for (unsigned left = m.threads; left > 0;) {
        const uint64_t before = m.events;
        for (unsigned w = 0; w < warps; w++) {
            const unsigned first = 32 * (reverse ? warps - 1 - w : w), lanes = std::min(32u, m.threads - first);
            for (uint64_t last = m.events - 1; last != m.events;) {
                last = m.events;
                for (unsigned i = 0; i < lanes; i++) {
                    Fiber& fiber = m.fibers[first + (reverse ? lanes - 1 - i : i)];
                    if (fiber.done) continue;
                    m.running = &fiber;
                    go(m.scheduler, fiber.context);
                    if (fiber.done) left--;
                }
            }
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
