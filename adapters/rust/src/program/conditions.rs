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

    fn node(args: &Value) -> NodeDocument {
        let out = json!([{"name": "y", "shape": [2, 3, 4], "dtype": "float32"}]);
        serde_json::from_value(json!({"op": "f", "args": args, "out": out})).expect("a node")
    }

    #[test]
    fn a_call_is_had_where_all_conditions_hold() {
        let document: Value =
            serde_json::from_str(include_str!("../../../../tests/condition_cases.json")).expect("JSON");
        for case in document["cases"].as_array().expect("cases") {
            let found = has(&json!({"f": case["conditions"]}), &node(&case["args"]), 3, true);
            assert_eq!(case["has"], found, "{}", case["case"]);
        }
    }

    #[test]
    fn an_operator_that_is_missing_is_not_had() {
        assert!(!has(&json!({"g": {}}), &node(&json!({})), 3, false));
    }
}
