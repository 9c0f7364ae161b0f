//! What an engine has: its table of operators and their conditions, as docs/worker-protocol.md describes it.

use super::NodeDocument;
use serde_json::Value;

/// Whether a table has this call of an operator. `rank` is that of its first tensor; `trains` says that the engine
/// derives gradients of the entry.
pub(super) fn has(table: &Value, node: &NodeDocument, rank: usize, trains: bool) -> bool {
    let Some(Value::Object(conditions)) = table.get(&node.op) else { return false };
    conditions.iter().all(|(name, values)| {
        let values = values.as_array().map_or(&[][..], Vec::as_slice);
        match name.as_str() {
            "rank" => allowed(&rank.into(), values, rank),
            "dtype" => allowed(&node.out[0].dtype.clone().into(), values, rank),
            "trains" => allowed(&trains.into(), values, rank),
            _ => allowed(node.args.get(name).unwrap_or(&Value::Null), values, rank),
        }
    })
}

fn allowed(value: &Value, values: &[Value], rank: usize) -> bool {
    match value {
        Value::Array(items) if values.contains(&"equal".into()) && items.windows(2).all(|pair| pair[0] == pair[1]) => {
            true
        }
        Value::Array(items) => items.iter().all(|item| allowed(item, values, rank)),
        _ => values.iter().any(|one| matches(value, one, rank)),
    }
}

fn matches(value: &Value, one: &Value, rank: usize) -> bool {
    if let Some(most) = one.get("max").and_then(Value::as_f64) {
        return value.as_f64().is_some_and(|number| number <= most);
    }
    match one.as_str() {
        Some("tensor") => value.get("ref").is_some(),
        Some("number") => value.is_number() || value.get("float").is_some(),
        Some("last") => value.as_u64().is_some_and(|dim| dim as usize + 1 == rank),
        _ => value == one || (value.is_number() && value.as_f64() == one.as_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(op: &str, args: Value) -> NodeDocument {
        let out = json!([{"name": "y", "shape": [2], "dtype": "float32"}]);
        serde_json::from_value(json!({"op": op, "args": args, "out": out})).expect("a node")
    }

    fn ask(conditions: Value, args: Value) -> bool {
        has(&json!({"f": conditions}), &node("f", args), 3, true)
    }

    #[test]
    fn an_operator_without_conditions_is_had_and_one_that_is_missing_is_not() {
        assert!(ask(json!({}), json!({"dim": 1})));
        assert!(!has(&json!({}), &node("f", json!({})), 1, false));
    }

    #[test]
    fn every_element_of_an_array_has_to_be_allowed() {
        assert!(ask(json!({"stride": [1, 2]}), json!({"stride": [2, 1]})));
        assert!(!ask(json!({"stride": [1]}), json!({"stride": [1, 2]})));
        assert!(ask(json!({"stride": ["equal"]}), json!({"stride": [3, 3]})));
        assert!(!ask(json!({"stride": ["equal"]}), json!({"stride": [3, 2]})));
    }

    #[test]
    fn words_stand_for_kinds_of_arguments() {
        let tensor = json!({"weight": {"ref": "w"}});
        assert!(ask(json!({"weight": ["tensor"]}), tensor.clone()));
        assert!(!ask(json!({"weight": [null]}), tensor));
        assert!(ask(json!({"weight": [null]}), json!({"weight": null})));
        assert!(ask(json!({"other": ["number"]}), json!({"other": {"float": "inf"}})));
        assert!(!ask(json!({"other": ["number"]}), json!({"other": true})));
        assert!(ask(json!({"dim": ["last"]}), json!({"dim": 2})));
        assert!(!ask(json!({"dim": ["last"]}), json!({"dim": 1})));
    }

    #[test]
    fn numbers_are_compared_by_value() {
        assert!(ask(json!({"p": [2]}), json!({"p": 2.0})));
        assert!(!ask(json!({"p": [1]}), json!({"p": true})));
        assert!(ask(json!({"rank": [{"max": 3}]}), json!({})));
        assert!(!ask(json!({"rank": [{"max": 2}]}), json!({})));
    }

    #[test]
    fn the_result_and_the_entry_can_be_conditions() {
        assert!(ask(json!({"dtype": ["float32"], "trains": [true]}), json!({})));
        assert!(!ask(json!({"trains": [false]}), json!({})));
    }
}
