// PNG files of 8 bits a channel, RGB or grey.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tool {

// The bytes of a file, rows one after the other, that must be side x side; `channels` 3 (RGB; grey is spread) or 1
// (grey). Throws cmgan::Error (CMGAN_PICTURE), naming both sizes where they differ.
std::vector<std::uint8_t> read_png(const std::string& path, int side, int channels);

// Write RGB bytes, whole or not at all. Throws cmgan::Error (CMGAN_SYSTEM).
void write_png(const std::string& path, int side, const std::vector<std::uint8_t>& rgb);

}  // namespace tool
