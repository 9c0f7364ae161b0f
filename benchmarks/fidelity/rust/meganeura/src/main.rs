//! Meganeura's own graph of `SmolLM2`, as a worker: `meganeura_idiom.py` times it beside the adapter's.

use inferena_worker::{Array, Data, Engine, Entry, Program, Result, Setup, Step, Tensors, failed, unsupported};
use meganeura::models::smollm2::{SmolLM2Config, build_graph};
use meganeura::{Graph, Mode, Session, SessionConfig};
use std::collections::HashMap;

struct Idiom {
    config: SmolLM2Config,
    weights: HashMap<String, Array>,
}

impl Engine for Idiom {
    const NAME: &'static str = "meganeura's SmolLM2";

    fn start(_: &Setup) -> Result<Self> {
        Ok(Self { config: SmolLM2Config::smollm2_135m(), weights: HashMap::new() })
    }

    fn describe(&self) -> String {
        "Meganeura's own graph".into()
    }

    fn load(&mut self, program: &Program, weights: &Tensors) -> Result<()> {
        for spec in &program.parameters {
            self.weights.insert(spec.name.clone(), weights.get(&spec.name)?);
        }
        Ok(())
    }

    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>> {
        let [(_, Array { data: Data::Int64(tokens), .. })] = &entry.inputs[..] else {
            return unsupported("inputs other than tokens");
        };
        let Some(name) = entry.outputs.keys().next() else { return unsupported("no outputs") };
        let mut graph = Graph::new();
        let logits = build_graph(&mut graph, &self.config, tokens.len());
        graph.set_outputs(vec![logits]);
        let config = SessionConfig { mode: Mode::Inference, ..SessionConfig::default() };
        let mut session = meganeura::build(&graph, config).0;
        for (name, array) in &self.weights {
            // What Meganeura makes of others, several matrices in one, it fills with them.
            session.set_parameter(name, &turned(name, array)?);
        }
        let tokens = tokens.iter().map(|one| u32::try_from(*one)).collect::<std::result::Result<Vec<_>, _>>();
        let Ok(tokens) = tokens else { return unsupported("tokens that are negative") };
        session.set_input_u32("token_ids", &tokens);
        let shape = vec![1, tokens.len(), self.config.vocab_size];
        Ok(Box::new(Running { session, name: name.clone(), shape }))
    }
}

/// A matrix as Meganeura keeps it, (in, out); the embedding's stays, (vocabulary, width).
fn turned(name: &str, array: &Array) -> Result<Vec<f32>> {
    let Data::Float32(values) = &array.data else { return failed(format!("{name} is not of float32")) };
    match array.shape[..] {
        [rows, columns] if !name.contains("embed") => {
            Ok((0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect())
        }
        _ => Ok(values.clone()),
    }
}

struct Running {
    session: Session,
    name: String,
    shape: Vec<usize>,
}

impl Step for Running {
    fn run(&mut self) -> Result<()> {
        self.session.step();
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        self.session.wait();
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, Array)>> {
        let mut values = vec![0.0; self.shape.iter().product()];
        self.session.read_output_by_index(0, &mut values);
        Ok(vec![(self.name.clone(), Array::float(&self.shape, values))])
    }
}

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Idiom>()
}
