//! Meganeura: a Program becomes its graph. It differentiates the graph and compiles it to shaders for Vulkan.

mod composed;
mod layers;
mod operators;
mod record;
mod view;

use inferena_worker::{
    Array, Data, Dtype, Engine, Entry, Node, Program, Result, Setup, Spec, Step, Tensors, failed, unsupported,
};
use meganeura::{Mode, Session, SessionConfig};
use record::{Feed, Parameters, Recorder, floats};
use std::rc::Rc;
use std::sync::Arc;

struct Meganeura {
    device: Arc<blade_graphics::Context>,
    parameters: Parameters,
}

impl Engine for Meganeura {
    const NAME: &'static str = "meganeura";
    const OPERATORS: Option<&'static str> = Some(operators::OPERATORS);

    fn start(setup: &Setup) -> Result<Self> {
        if setup.device != "vulkan" {
            return unsupported(format!("Meganeura runs on Vulkan here, not on {}", setup.device));
        }
        match meganeura::init_gpu_context() {
            Ok(device) => {
                let device = Arc::new(device);
                wake(&device)?;
                Ok(Self { device, parameters: Parameters::new() })
            }
            Err(why) => unsupported(format!(
                "no Vulkan device ({why}); Debian's libvulkan1 and mesa-vulkan-drivers bring one for CPUs"
            )),
        }
    }

    fn describe(&self) -> String {
        let device = self.device.device_information();
        format!("Meganeura on {}, {} {}", device.device_name, device.driver_name, device.driver_info)
    }

    /// Device memory belongs to sessions, so `compile` copies parameters there.
    fn load(&mut self, program: &Program, weights: &Tensors) -> Result<()> {
        self.parameters.clear();
        for Spec { name, .. } in &program.parameters {
            self.parameters.insert(name.clone(), Rc::new(weights.get(name)?));
        }
        Ok(())
    }

    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>> {
        let mut recorder = Recorder::new(entry, &self.parameters)?;
        let (mut outputs, mut nodes) = (Vec::new(), Vec::new());
        for (name, tensor) in &entry.outputs {
            let view = recorder.get(tensor)?;
            nodes.push(recorder.flat(&view));
            let truth = recorder.nodes.get(tensor).map(Node::dtype).transpose()? == Some(Dtype::Bool);
            outputs.push((name.clone(), view.shape, truth));
        }
        recorder.graph.set_outputs(nodes);
        let mode = if recorder.trains { Mode::Training } else { Mode::Inference };
        let config = SessionConfig { mode, gpu: Some(Arc::clone(&self.device)), ..SessionConfig::default() };
        let Recorder { graph, feeds, folded, trains, .. } = recorder;
        let mut session = meganeura::build(&graph, config).0;
        let names: Vec<String> = session.param_names().into_iter().map(String::from).collect();
        for name in names {
            match (folded.get(&name), self.parameters.get(&name)) {
                (Some(values), _) => session.set_parameter(&name, values),
                (None, Some(array)) => session.set_parameter(&name, floats(&name, array)?),
                (None, None) => {} // Meganeura derives it from others, and fills it with them
            }
        }
        for (name, feed) in &feeds {
            match feed {
                _ if !session.has_input(name) => {} // nothing reads it
                Feed::Floats(values) => session.set_input(name, values),
                Feed::Rows(values) => session.set_input_u32(name, values),
            }
        }
        let gradients = entry.parameters.iter().filter(|name| trains && entry.trainable.contains(*name));
        let gradients = gradients.map(|name| (name.clone(), self.parameters[name].shape.clone())).collect();
        Ok(Box::new(Compiled { session, trains, outputs, gradients }))
    }
}

/// Run steps of one relu. With Mesa 22.3's driver for CPUs a convolution that is the first dispatch of a process leaves
/// zeros; from the second dispatch on it is right.
fn wake(device: &Arc<blade_graphics::Context>) -> Result<()> {
    let mut graph = meganeura::Graph::new();
    let x = graph.input("x", &[64]);
    let made = graph.relu(x);
    graph.set_outputs(vec![made]);
    let config = SessionConfig { mode: Mode::Inference, gpu: Some(Arc::clone(device)), ..SessionConfig::default() };
    let mut session = meganeura::build(&graph, config).0;
    session.set_input("x", &[1.0; 64]);
    let mut values = [0.0; 64];
    for _ in 0..2 {
        session.step();
        session.wait();
        session.read_output_by_index(0, &mut values);
    }
    if values.iter().all(|one| (one - 1.0).abs() < 1e-6) {
        Ok(())
    } else {
        failed("the Vulkan device computes relu(1) wrong")
    }
}

/// A session with its parameters and inputs. It has no optimizer, so a step ends with the gradients.
struct Compiled {
    session: Session,
    trains: bool,
    /// Name, shape, and whether it is of truth values.
    outputs: Vec<(String, Vec<usize>, bool)>,
    gradients: Vec<(String, Vec<usize>)>,
}

impl Step for Compiled {
    fn run(&mut self) -> Result<()> {
        self.session.step();
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        self.session.wait();
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, Array)>> {
        let mut found = Vec::new();
        for (index, (name, shape, truth)) in self.outputs.iter().enumerate() {
            let mut values = vec![0.0; shape.iter().product()];
            if self.trains {
                values[0] = self.session.read_loss(); // it is the sum of its parts
            } else {
                self.session.read_output_by_index(index, &mut values);
            }
            let data = match truth {
                true => Data::Bool(values.into_iter().map(|one| one != 0.0).collect()),
                false => Data::Float32(values),
            };
            found.push((name.clone(), Array { shape: shape.clone(), data }));
        }
        for (name, shape) in &self.gradients {
            let mut values = vec![0.0; shape.iter().product()];
            if self.session.has_param_grad(name) {
                self.session.read_param_grad(name, &mut values);
            } else if self.session.has_parameter(name) {
                return failed(format!("Meganeura has no gradient of {name}"));
            }
            found.push((format!("grad:{name}"), Array::float(shape, values)));
        }
        Ok(found)
    }
}

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Meganeura>()
}
