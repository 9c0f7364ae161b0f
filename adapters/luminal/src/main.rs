//! Luminal 0.2: the Program recorded as a graph of its primitive operators.

mod operators;
mod record;
mod session;

use inferena_worker::{
    Array, Engine, Entry, Error, Program, Result, Setup, Step, Tensors, failed, lacking, unsupported,
};
use operators::apply;
use record::{Record, Value};
use session::Session;
use std::collections::HashMap;

struct Luminal {
    weights: HashMap<String, Array>,
}

impl Engine for Luminal {
    const NAME: &'static str = "luminal";
    const OPERATORS: Option<&'static str> = Some(operators::OPERATORS);

    fn start(setup: &Setup) -> Result<Self> {
        match setup.device.as_str() {
            "cpu" => Ok(Self { weights: HashMap::new() }),
            other => unsupported(format!("the published Luminal has no device {other}")),
        }
    }

    fn describe(&self) -> String {
        "Luminal on CPU, matrixmultiply, 1 thread: it has no more".into()
    }

    fn load(&mut self, program: &Program, weights: &Tensors) -> Result<()> {
        let named = program.parameters.iter().map(|spec| Ok((spec.name.clone(), weights.get(&spec.name)?)));
        self.weights = named.collect::<Result<_>>()?;
        Ok(())
    }

    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>> {
        let mut record = Record(Box::default());
        let mut values: HashMap<String, Value> = HashMap::new();
        for name in &entry.parameters {
            let Some(array) = self.weights.get(name) else { return failed(format!("no parameter {name}")) };
            values.insert(name.clone(), record.leaf(name, array.clone())?);
        }
        for (name, array) in entry.inputs.iter().chain(&entry.constants) {
            values.insert(name.clone(), record.leaf(name, array.clone())?);
        }
        for node in entry.nodes()? {
            let given = node.inputs.iter().map(|name| values.get(name).cloned()).collect::<Option<Vec<_>>>();
            let Some(given) = given else { return failed(format!("node {} comes too early", node.out.name)) };
            let value = apply(&mut record, &node, &given).or_else(|error| match error {
                Error::Unsupported(why) => lacking(&node.operator, &node.out.name, &why),
                other => Err(other),
            })?;
            values.insert(node.out.name.clone(), value);
        }
        Ok(Box::new(Session::new(record, entry, &values)?))
    }
}

fn main() -> std::process::ExitCode {
    inferena_worker::main::<Luminal>()
}
