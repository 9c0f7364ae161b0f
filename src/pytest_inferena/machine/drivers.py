"""Asks the drivers of Vulkan or OpenCL for their devices, by their C interfaces: `python drivers.py vulkan`.

It is a program of its own, run by its path, because a driver may crash. It prints JSON. Without a loader: `[]`.
"""

import ctypes
import json
import struct
import sys
from ctypes.util import find_library
from typing import Any

Found = list[dict[str, Any]]

LIBRARIES = {
    "vulkan": ("libvulkan.so.1", "vulkan-1.dll", "libvulkan.1.dylib", "libMoltenVK.dylib"),
    "opencl": ("libOpenCL.so.1", "OpenCL.dll"),
}
VULKAN_CPU, OPENCL_CPU = 4, 2
"""How each calls a device that is the CPU."""
DEVICE_LOCAL = 1
DRIVER_PROPERTIES, PROPERTIES_2 = 1000196000, 1000059001
"""`sType` of VkPhysicalDeviceDriverProperties and of VkPhysicalDeviceProperties2."""


def library(api: str) -> Any:
    """The loader, or None."""
    for name in (*LIBRARIES[api], find_library("vulkan" if api == "vulkan" else "OpenCL")):
        try:
            return ctypes.CDLL(name) if name else None
        except OSError:
            continue
    return None


def vulkan(lib: Any) -> Found:
    """Physical devices of an instance of Vulkan 1.1, with the heap that is theirs and the driver's words."""
    application = struct.pack("@I4xPPI4xPII", 0, 0, 0, 0, 0, 0, 1 << 22 | 1 << 12)
    held = ctypes.create_string_buffer(application, len(application))
    create = struct.pack("@I4xPI4xPI4xPI4xP", 1, 0, 0, ctypes.addressof(held), 0, 0, 0, 0)
    instance, count = ctypes.c_void_p(), ctypes.c_uint32()
    if lib.vkCreateInstance(create, None, ctypes.byref(instance)):
        return []
    lib.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    devices = (ctypes.c_void_p * count.value)()
    lib.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), devices)
    return [vulkan_device(lib, ctypes.c_void_p(device)) for device in devices]


def vulkan_device(lib: Any, device: ctypes.c_void_p) -> dict[str, Any]:
    """VkPhysicalDeviceProperties2 with the driver's chained, and VkPhysicalDeviceMemoryProperties."""
    driver = ctypes.create_string_buffer(struct.pack("@I4xP", DRIVER_PROPERTIES, 0), 1024)
    chained = ctypes.create_string_buffer(struct.pack("@I4xP", PROPERTIES_2, ctypes.addressof(driver)), 4096)
    lib.vkGetPhysicalDeviceProperties2(device, chained)
    memory = ctypes.create_string_buffer(1024)
    lib.vkGetPhysicalDeviceMemoryProperties(device, memory)
    kind, name = struct.unpack_from("@I256s", chained.raw, 16 + 16)
    named, info = struct.unpack_from("@256s256s", driver.raw, 16 + 4)
    (heaps,) = struct.unpack_from("@I", memory.raw, 4 + 32 * 8)
    sizes = [struct.unpack_from("@QI", memory.raw, 4 + 32 * 8 + 4 + 16 * heap) for heap in range(heaps)]
    return {
        "name": words(name), "driver": f"{words(named)} {words(info)}".strip(), "cpu": kind == VULKAN_CPU,
        "memory_mib": sum(size for size, flags in sizes if flags & DEVICE_LOCAL) >> 20,
    }  # fmt: skip


def opencl(lib: Any) -> Found:
    """Devices of all platforms of OpenCL."""
    count = ctypes.c_uint32()
    lib.clGetPlatformIDs(0, None, ctypes.byref(count))
    platforms = (ctypes.c_void_p * count.value)()
    lib.clGetPlatformIDs(count, platforms, None)
    found: Found = []
    for platform in map(ctypes.c_void_p, platforms):
        number = ctypes.c_uint32()
        lib.clGetDeviceIDs(platform, ctypes.c_uint64(0xFFFFFFFF), 0, None, ctypes.byref(number))
        devices = (ctypes.c_void_p * number.value)()
        lib.clGetDeviceIDs(platform, ctypes.c_uint64(0xFFFFFFFF), number, devices, None)
        name = words(asked(lib.clGetPlatformInfo, platform, 0x0902))
        for device in map(ctypes.c_void_p, devices):
            kind, size = (int.from_bytes(asked(lib.clGetDeviceInfo, device, what)[:8], "little")
                          for what in (0x1000, 0x101F))  # fmt: skip
            version = words(asked(lib.clGetDeviceInfo, device, 0x102D))
            found.append({
                "name": words(asked(lib.clGetDeviceInfo, device, 0x102B)), "driver": f"{name} {version}",
                "cpu": bool(kind & OPENCL_CPU), "memory_mib": size >> 20,
            })  # fmt: skip
    return found


def asked(function: Any, handle: ctypes.c_void_p, what: int) -> bytes:
    """What one of OpenCL's `Get…Info` writes."""
    answer = ctypes.create_string_buffer(1024)
    function(handle, what, ctypes.c_size_t(len(answer)), answer, None)
    return answer.raw


def words(text: bytes) -> str:
    """A string of C."""
    return text.split(b"\0")[0].decode(errors="replace").strip()


if __name__ == "__main__":
    loaded = library(sys.argv[1])
    print(json.dumps({"vulkan": vulkan, "opencl": opencl}[sys.argv[1]](loaded) if loaded else []))
