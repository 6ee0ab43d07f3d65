// The C interface: exceptions become a status and a sentence.
#include "cmgan.h"

#include <cstdio>
#include <new>

#include "call.h"
#include "engine.h"
#include "error.h"

struct cmgan_engine {
    std::unique_ptr<cmgan::Engine> engine;
};

namespace {

thread_local char last_error[1024] = "";  // of a fixed size: writing it cannot fail

cmgan_status fail(cmgan_status status, const char* message, const char* file = nullptr) noexcept {
    std::snprintf(last_error, sizeof last_error, "%s%s%s", file ? file : "", file ? ": " : "", message);
    return status;
}

// Run `work`; `file`, if there is one, is named before what went wrong.
template <class Work>
cmgan_status guarded(const char* file, Work work) noexcept {
    try {
        work();
        return CMGAN_OK;
    } catch (const cmgan::Error& error) {
        return fail(error.status(), error.what(), file);
    } catch (const std::bad_alloc&) {
        return fail(CMGAN_SYSTEM, "there is not enough memory", file);
    } catch (const std::exception& error) {
        return fail(CMGAN_FAILED, error.what(), file);
    } catch (...) {
        return fail(CMGAN_FAILED, "an exception of an unknown kind", file);
    }
}

void fill(cmgan_facts& facts, const cmgan::Engine& engine) {
    const cmgan::Metadata& m = engine.metadata();
    facts.format = m.format.c_str();
    facts.name = m.name.c_str();
    facts.version = m.version.c_str();
    facts.precision = m.precision.c_str();
    facts.pipeline = m.pipeline.c_str();
    facts.layout = m.layout.c_str();
    facts.mask_rule = m.mask_rule.c_str();
    facts.licence = m.licence.c_str();
    facts.schema = m.schema;
    facts.resolution = m.resolution;
    facts.z_dim = m.z_dim;
    facts.hole_from = m.hole_from;
    facts.trained = m.trained;
    facts.on_gpu = engine.on_gpu();
}

}  // namespace

cmgan_status cmgan_open(const char* path, const cmgan_options* options, cmgan_engine** engine) {
    if (!engine) return fail(CMGAN_ARGUMENT, "engine is null: there is no place for the answer");
    *engine = nullptr;
    if (!path) return fail(CMGAN_ARGUMENT, "path is null");
    return guarded(path, [&] {
        cmgan::Options chosen;
        if (options) chosen.threads = options->threads;
        if (options && options->device) chosen.device = options->device;
        if (chosen.threads < 0 || chosen.threads > 1024) {
            throw cmgan::argument_error("threads is " + std::to_string(chosen.threads) + "; 0 to 1024 is possible");
        }
        auto opened = std::make_unique<cmgan_engine>();
        opened->engine = cmgan::open_engine(path, chosen);
        *engine = opened.release();
    });
}

cmgan_status cmgan_info(const cmgan_engine* engine, cmgan_facts* facts) {
    if (!engine || !facts) return fail(CMGAN_ARGUMENT, engine ? "facts is null" : "engine is null");
    fill(*facts, *engine->engine);
    return CMGAN_OK;
}

cmgan_status cmgan_inpaint(cmgan_engine* engine, const cmgan_call* call) {
    if (!engine || !call) return fail(CMGAN_ARGUMENT, engine ? "call is null" : "engine is null");
    return guarded(nullptr, [&] { cmgan::inpaint(*engine->engine, *call); });
}

void cmgan_close(cmgan_engine* engine) { delete engine; }

const char* cmgan_error(void) { return last_error; }
