//! The device that a backend's name stands for, and what it calls itself. All but Flex are features of the build.

use burn_dispatch::{DispatchDevice, devices};
use inferena_worker::{Result, unsupported};

pub fn device(backend: &str) -> Result<(DispatchDevice, String)> {
    match backend {
        "flex" => {
            let device = DispatchDevice::Flex(devices::FlexDevice);
            let name = format!("{device:?}, {} threads", rayon::current_num_threads());
            Ok((device, name))
        }
        #[cfg(feature = "cuda")]
        "cuda" => {
            let device = DispatchDevice::Cube(devices::CubeDevice::Cuda(devices::CudaDevice::default()));
            let name = format!("{device:?}");
            Ok((device, name))
        }
        #[cfg(feature = "vulkan")]
        "vulkan" => through_wgpu(devices::WgpuBackend::Vulkan),
        #[cfg(feature = "wgpu")]
        "wgpu" => through_wgpu(devices::WgpuBackend::Auto),
        other => unsupported(format!("Burn was built without its feature {other}")),
    }
}

/// A GPU, or what stands in for one, and the name that its driver gives it.
///
/// It is started here, because at first use a missing device is a panic. A process can start it once.
#[cfg(feature = "wgpu")]
fn through_wgpu(api: devices::WgpuBackend) -> Result<(DispatchDevice, String)> {
    use devices::wgpu::{AutoGraphicsApi, RuntimeOptions, try_init_setup};
    use std::sync::Mutex;

    static NAME: Mutex<Option<String>> = Mutex::new(None);
    let mut name = NAME.lock().expect("nobody panics with it");
    let device = devices::WgpuDevice::default().on(api);
    if name.is_none() {
        match try_init_setup::<AutoGraphicsApi>(&device, RuntimeOptions::default()) {
            Ok(setup) => {
                let found = setup.adapter.get_info();
                *name = Some(format!("{}, {} {}, {}", found.name, found.driver, found.driver_info, found.backend));
            }
            Err(error) => {
                return unsupported(format!(
                    "no device ({error}); Debian's libvulkan1 and mesa-vulkan-drivers bring one for CPUs"
                ));
            }
        }
    }
    Ok((DispatchDevice::Cube(devices::CubeDevice::Wgpu(device)), name.clone().unwrap_or_default()))
}
