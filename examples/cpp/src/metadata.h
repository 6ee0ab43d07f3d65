// What an artefact says about itself, and how it is read: from strings (ONNX) or from NAME.json (everything else).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

namespace cmgan {

constexpr int kSchema = 1;  // the newest that this library reads

struct Metadata {
    std::string format, name, version, precision, pipeline, layout, mask_rule, licence;
    int schema = 0, resolution = 0, z_dim = 0, hole_from = 0;
    bool trained = false;
    std::string details;                       // of the format, as JSON: versions, targets, batches, instruction set
    std::map<std::string, std::string> files;  // name -> SHA-256; empty for ONNX

    bool full() const { return pipeline == "full"; }
};

// Looks a field up: its JSON text, or nothing.
using Lookup = std::function<std::optional<std::string>(const std::string& key)>;

// Read metadata field by field. Throws Error (CMGAN_MODEL): foreign, incomplete, of a newer schema, or with a mask rule
// or layout that this library does not know.
Metadata read_metadata(const Lookup& lookup);

// Read `NAME.json` beside an artefact.
Metadata read_sidecar(const std::string& artefact);

// The bytes of `name`, a file that belongs to the artefact, after comparing their SHA-256 with the metadata's.
std::string read_checked(const Metadata& metadata, const std::string& artefact, const std::string& name);

// The last component of a path.
std::string file_name(const std::string& path);

}  // namespace cmgan
