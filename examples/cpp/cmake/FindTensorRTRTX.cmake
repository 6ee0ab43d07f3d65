# An official archive: -DTensorRTRTX_ROOT=/opt/TensorRT-RTX-1.7.1.116.
find_path(TensorRTRTX_INCLUDE_DIR NvInfer.h)
find_library(TensorRTRTX_LIBRARY tensorrt_rtx)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRTRTX REQUIRED_VARS TensorRTRTX_LIBRARY TensorRTRTX_INCLUDE_DIR)
if(TensorRTRTX_FOUND AND NOT TARGET TensorRT::RTX)
    add_library(TensorRT::RTX UNKNOWN IMPORTED)
    set_target_properties(TensorRT::RTX PROPERTIES
        IMPORTED_LOCATION "${TensorRTRTX_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${TensorRTRTX_INCLUDE_DIR}")
endif()
