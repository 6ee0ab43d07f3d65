#include "metadata.h"

#include <openssl/evp.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "error.h"

namespace cmgan {
namespace {

using nlohmann::json;

constexpr const char* kMaskRule = "hole = value >= ";
const std::map<std::string, std::string> kLayouts = {{"full", "NHWC uint8 RGB"},
                                                     {"core", "NCHW float32 RGB in [-1, 1]"}};

json field(const Lookup& lookup, const std::string& key) {
    const auto text = lookup(key);
    if (!text) throw model_error("has no metadata field " + key + "; export it again");
    return json::parse(*text);
}

int read_schema(const Lookup& lookup) {
    if (!lookup("schema")) throw model_error("was not exported by cmgan; make one with: cmgan export");
    const int schema = field(lookup, "schema").get<int>();
    if (schema > kSchema) {
        throw model_error("has metadata of schema " + std::to_string(schema) + "; this library reads up to " +
                          std::to_string(kSchema) + ": build a newer one");
    }
    return schema;
}

int read_hole_from(const std::string& rule) {
    const std::string digits = rule.rfind(kMaskRule, 0) == 0 ? rule.substr(std::string(kMaskRule).size()) : "";
    if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != std::string::npos ||
        std::stoi(digits) > 255) {
        throw model_error("has the mask rule '" + rule + "'; this library knows '" + kMaskRule + "NUMBER'");
    }
    return std::stoi(digits);
}

void check_layout(const Metadata& metadata) {
    const auto known = kLayouts.find(metadata.pipeline);
    if (known == kLayouts.end()) {
        throw model_error("has the pipeline '" + metadata.pipeline + "'; this library knows full and core");
    }
    if (metadata.layout != known->second) {
        throw model_error("has the layout '" + metadata.layout + "'; this library knows '" + known->second +
                          "' for the pipeline " + metadata.pipeline);
    }
    if (metadata.resolution < 1 || metadata.resolution > 1 << 14 || metadata.z_dim < 1 || metadata.z_dim > 1 << 20) {
        throw model_error("has resolution " + std::to_string(metadata.resolution) + " and z_dim " +
                          std::to_string(metadata.z_dim) + ", which cannot be; export it again");
    }
}

std::string sha256(const std::string& bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int length = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) != 1) {
        throw Error(CMGAN_SYSTEM, "OpenSSL computes no SHA-256");
    }
    std::string text;
    for (unsigned int i = 0; i < length; ++i) {
        text += "0123456789abcdef"[digest[i] >> 4];
        text += "0123456789abcdef"[digest[i] & 15];
    }
    return text;
}

std::string read_file(const std::string& path) {
    std::error_code failed;
    const auto size = std::filesystem::file_size(path, failed);  // fails for what is no plain file
    std::string bytes(failed ? 0 : size, '\0');
    std::ifstream file(path, std::ios::binary);
    if (failed || !file.read(bytes.data(), static_cast<std::streamsize>(size))) {
        throw model_error("its file " + file_name(path) + " cannot be read");
    }
    return bytes;
}

}  // namespace

Metadata read_metadata(const Lookup& lookup) {
    try {
        Metadata m;
        m.schema = read_schema(lookup);
        for (auto& [key, text] : std::initializer_list<std::pair<const char*, std::string*>>{
                 {"format", &m.format},
                 {"name", &m.name},
                 {"version", &m.version},
                 {"precision", &m.precision},
                 {"pipeline", &m.pipeline},
                 {"layout", &m.layout},
                 {"mask_rule", &m.mask_rule},
                 {"licence", &m.licence}}) {
            *text = field(lookup, key).get<std::string>();
        }
        m.resolution = field(lookup, "resolution").get<int>();
        m.z_dim = field(lookup, "z_dim").get<int>();
        m.trained = field(lookup, "trained").get<bool>();
        m.details = field(lookup, "details").dump();
        m.hole_from = read_hole_from(m.mask_rule);
        check_layout(m);
        return m;
    } catch (const json::exception&) {
        throw model_error("has metadata that cannot be read; export it again");
    }
}

Metadata read_sidecar(const std::string& artefact) {
    const std::string path = artefact + ".json";
    if (!std::filesystem::exists(path)) {
        throw model_error("has no " + file_name(path) + " beside it, which says what it is: copy that file too");
    }
    const json values = json::parse(read_file(path), nullptr, false);
    if (!values.is_object()) throw model_error("has metadata that cannot be read; export it again");
    Metadata metadata = read_metadata([&](const std::string& key) -> std::optional<std::string> {
        if (!values.contains(key)) return std::nullopt;
        return values[key].dump();
    });
    try {
        metadata.files = values.at("files").get<std::map<std::string, std::string>>();
    } catch (const json::exception&) {
        throw model_error("has metadata without the digests of its files; export it again");
    }
    return metadata;
}

std::string read_checked(const Metadata& metadata, const std::string& artefact, const std::string& name) {
    const auto wanted = metadata.files.find(name);
    if (wanted == metadata.files.end()) throw model_error("its metadata name no " + name + "; export it again");
    const std::string path = std::filesystem::path(artefact).replace_filename(name).string();
    std::string bytes = read_file(path);
    const std::string seen = sha256(bytes);
    if (seen != wanted->second) {
        throw model_error("its file " + name + " is not the one that was exported (SHA-256 " + seen.substr(0, 12) +
                          ", not " + wanted->second.substr(0, 12) + "); export it again");
    }
    return bytes;
}

std::string file_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

}  // namespace cmgan
