#include "png_file.h"

#include <png.h>
#include <unistd.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <memory>

#include "../src/error.h"

namespace tool {
namespace {

using cmgan::Error;
using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

// libpng leaves a call by longjmp after an error. Nothing between the jump and its target may own anything, so each step
// below is a function of plain values that answers whether it went well.
struct Fault {
    char text[128] = "it is damaged";
};

void on_error(png_structp png, png_const_charp message) {
    auto* fault = static_cast<Fault*>(png_get_error_ptr(png));
    std::snprintf(fault->text, sizeof fault->text, "%s", message);
    png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

struct Reader {
    Fault fault;
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &fault, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : nullptr;
    ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

struct Writer {
    Fault fault;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &fault, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : nullptr;
    ~Writer() { png_destroy_write_struct(&png, &info); }
};

bool read_header(png_structp png, png_infop info, std::FILE* file) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_init_io(png, file);
    png_read_info(png, info);
    return true;
}

bool read_rows(png_structp png, png_infop info, int channels, png_bytepp rows) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_expand(png);  // palettes, and grey of fewer than 8 bits
    if (channels == 3) png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    png_read_image(png, rows);
    png_read_end(png, nullptr);
    return true;
}

bool write_rows(png_structp png, png_infop info, std::FILE* file, png_uint_32 side, png_bytepp rows) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_init_io(png, file);
    png_set_IHDR(png, info, side, side, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    png_write_image(png, rows);
    png_write_end(png, nullptr);
    return true;
}

std::vector<png_bytep> rows_of(std::vector<std::uint8_t>& bytes, std::size_t side, std::size_t channels) {
    std::vector<png_bytep> rows(side);
    for (std::size_t y = 0; y < side; ++y) rows[y] = bytes.data() + y * side * channels;
    return rows;
}

// What this program takes: anything else is for `cmgan inpaint`.
void check_header(const std::string& path, png_structp png, png_infop info, png_uint_32 side, int channels) {
    const auto width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    if (width != side || height != side) {
        throw Error(CMGAN_PICTURE, path + ": is " + std::to_string(width) + " x " + std::to_string(height) +
                                       "; the engine takes " + std::to_string(side) + " x " + std::to_string(side));
    }
    const int colour = png_get_color_type(png, info);
    if (png_get_bit_depth(png, info) > 8) throw Error(CMGAN_PICTURE, path + ": has 16 bits a channel; 8 are needed");
    if (colour & PNG_COLOR_MASK_ALPHA || png_get_valid(png, info, PNG_INFO_tRNS)) {
        throw Error(CMGAN_PICTURE, path + ": has transparency, which this program would lose");
    }
    if (channels == 1 && colour != PNG_COLOR_TYPE_GRAY) {
        throw Error(CMGAN_PICTURE, path + ": has colours; a mask is grey");
    }
}

}  // namespace

std::vector<std::uint8_t> read_png(const std::string& path, int side, int channels) {
    const File file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (!file) throw Error(CMGAN_PICTURE, path + ": " + std::strerror(errno));
    Reader reader;
    if (!reader.info) throw Error(CMGAN_SYSTEM, "libpng has no memory");
    if (!read_header(reader.png, reader.info, file.get())) {
        throw Error(CMGAN_PICTURE, path + ": is no PNG file (" + reader.fault.text + ")");
    }
    const auto size = static_cast<std::size_t>(side), width = static_cast<std::size_t>(channels);
    check_header(path, reader.png, reader.info, static_cast<png_uint_32>(side), channels);
    std::vector<std::uint8_t> bytes(size * size * width);
    auto rows = rows_of(bytes, size, width);
    if (!read_rows(reader.png, reader.info, channels, rows.data())) {
        throw Error(CMGAN_PICTURE, path + ": is a cut or damaged PNG file (" + reader.fault.text + ")");
    }
    return bytes;
}

void write_png(const std::string& path, int side, const std::vector<std::uint8_t>& rgb) {
    const std::string temporary = path + "." + std::to_string(getpid()) + ".tmp";
    auto bytes = rgb;  // libpng wants rows that it could write to
    auto rows = rows_of(bytes, static_cast<std::size_t>(side), 3);
    File file(std::fopen(temporary.c_str(), "wb"), std::fclose);
    if (!file) throw Error(CMGAN_SYSTEM, path + ": " + std::strerror(errno));
    Writer writer;
    bool done = writer.info &&
                write_rows(writer.png, writer.info, file.get(), static_cast<png_uint_32>(side), rows.data());
    done = std::fclose(file.release()) == 0 && done;
    if (!done || std::rename(temporary.c_str(), path.c_str()) != 0) {
        std::remove(temporary.c_str());
        throw Error(CMGAN_SYSTEM, path + ": cannot be written (" + std::strerror(errno) + ")");
    }
}

}  // namespace tool
