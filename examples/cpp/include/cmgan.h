/* cmgan: pictures with holes in, pictures without out, through an artefact that `cmgan export` wrote.
 *
 * Open an engine once, call it as often as you like, from as many threads as you like, and close it. No function throws;
 * each that can fail answers with a status and leaves a sentence in cmgan_error(). An engine is native code or is compiled
 * to it: open only files that you trust like a program.
 */
#ifndef CMGAN_H
#define CMGAN_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CMGAN_API __attribute__((visibility("default")))
#else
#define CMGAN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers are the exit codes of the command `cmgan`. */
typedef enum cmgan_status {
    CMGAN_OK = 0,
    CMGAN_ARGUMENT = 2, /* an argument of the call is wrong */
    CMGAN_PICTURE = 3,  /* a picture or mask cannot be used (the program cmgan-inpaint only) */
    CMGAN_MODEL = 4,    /* the artefact is damaged, of a newer schema, or was made for other versions or another machine */
    CMGAN_MISSING = 5,  /* this build has not the back end, or this machine not the device or instructions */
    CMGAN_SYSTEM = 6,   /* the system refuses: memory, files */
    CMGAN_FAILED = 7    /* the engine did not run */
} cmgan_status;

typedef struct cmgan_engine cmgan_engine;

/* How an engine runs. All zeros are the defaults. */
typedef struct cmgan_options {
    int threads;        /* of one call; 0: as many as the runtime thinks right */
    const char *device; /* "cpu", "cuda" or "cuda:1"; NULL: the GPU for TensorRT, else what the artefact was made for */
} cmgan_options;

/* What an artefact says about itself. The strings live as long as the engine. */
typedef struct cmgan_facts {
    const char *format;    /* onnx, openvino, aoti, trt, trt-rtx */
    const char *name;      /* of the model */
    const char *version;   /* of the cmgan that made it */
    const char *precision; /* fp32, fp16, bf16, int8, auto */
    const char *pipeline;  /* full: bytes in, bytes out; core: the network alone, the library does the rest */
    const char *layout;    /* of the graph's picture */
    const char *mask_rule; /* in words */
    const char *licence;   /* of the weights */
    int schema;            /* of the metadata */
    int resolution;        /* R: pictures are R x R */
    int z_dim;             /* numbers of z a picture */
    int hole_from;         /* a pixel belongs to the hole if its mask value is this or more */
    int trained;           /* 0: seeded weights, which paint nothing sensible */
    int on_gpu;            /* 1: cmgan_call.on_device may be set, for memory of the GPU that the engine runs on */
} cmgan_facts;

/* Bytes of several pictures that lie in memory with regular distances. A stride of 0 means: one after the other. */
typedef struct cmgan_pixels {
    uint8_t *data;
    size_t size;           /* bytes that belong to it, from `data` on */
    size_t row_stride;     /* bytes from the start of a row to the start of the next */
    size_t picture_stride; /* bytes from the start of a picture to the start of the next */
} cmgan_pixels;

/* The same, only to be read. */
typedef struct cmgan_const_pixels {
    const uint8_t *data;
    size_t size;
    size_t row_stride;
    size_t picture_stride;
} cmgan_const_pixels;

/* One batch. Zero what you do not use: cmgan_call call = {0}. */
typedef struct cmgan_call {
    int count;                /* of pictures, N: 1 or more */
    cmgan_const_pixels image; /* N x R x R x 3, RGB */
    cmgan_const_pixels mask;  /* N x R x R; see cmgan_facts.hole_from */
    const float *z;           /* N x z_dim, drawn from the normal distribution: the only source of variety */
    size_t z_count;           /* of floats in z */
    cmgan_pixels output;      /* N x R x R x 3, RGB; outside the hole the bytes of `image`. May be `image` itself */
    float *raw;               /* NULL, or room for N x 3 x R x R: what the network itself gives. Core graphs only */
    size_t raw_count;         /* of floats in raw */
    int on_device;            /* 1: image, mask, z and output are memory of the engine's GPU, without gaps, and written */
} cmgan_call;                 /*    by work that is done; `output` is written when the call returns. Full graphs only */

/* Open an artefact: model.onnx, model.xml, model.pt2, model.engine or model.rtx, the last four with NAME.json beside it.
 * `options` may be NULL. On failure *engine is NULL. */
CMGAN_API cmgan_status cmgan_open(const char *path, const cmgan_options *options, cmgan_engine **engine);

/* What the engine's artefact says about itself. */
CMGAN_API cmgan_status cmgan_info(const cmgan_engine *engine, cmgan_facts *facts);

/* Fill the holes of a batch. Several threads may call it for one engine; they run side by side where the back end can. */
CMGAN_API cmgan_status cmgan_inpaint(cmgan_engine *engine, const cmgan_call *call);

/* Close an engine, which no thread may be using any more. NULL is fine. */
CMGAN_API void cmgan_close(cmgan_engine *engine);

/* Why the last call in this thread that failed did so; "" before the first. Valid until the next failure. */
CMGAN_API const char *cmgan_error(void);

#ifdef __cplusplus
}
#endif

#endif
