//! What a value costs: every element in it, shared ones as often as they are reached.

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{DynObject, ObjectRepr},
};

/// Nested lists and maps. Printing and comparing recurse once for each.
const DEPTH_MAX: usize = 64;
/// Elements per unit of fuel.
const ELEMENTS: u64 = 2;
/// Bytes of a text in a list or map per unit of fuel.
const BYTES: u64 = 64;

/// Charges for everything in a value.
///
/// # Errors
/// When the fuel runs out, or lists and maps are nested too deeply.
pub(super) fn charge(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_object() {
        Some(object) => Measure { state, owed: 0 }.object(object, 0),
        None => Ok(()),
    }
}

/// The filter after an operand. A lazy sequence is materialized, so that nothing unmeasured is behind it.
pub(super) fn measured(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    let Some(object) = value.as_object() else { return Ok(value) };
    if object.repr() != ObjectRepr::Iterable {
        charge(state, &value)?;
        return Ok(value);
    }
    let mut measure = Measure { state, owed: 0 };
    let mut elements = Vec::new();
    for element in object.try_iter().into_iter().flatten() {
        measure.value(&element, 1)?;
        elements.push(element);
    }
    measure.settle()?;
    Ok(Value::from(elements))
}

/// What a test looks into. The engine charges for a text that a filter reads, and for none that a test does.
pub(super) fn tested(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    if let Some(text) = value.as_str().filter(|text| text.len() >= 64) {
        state.consume_fuel(text.len() as u64 / BYTES)?;
    }
    measured(state, value)
}

/// The filter after what may be neither a list nor a map.
pub(super) fn single(value: Value) -> Result<Value, Error> {
    if value.as_object().is_none() {
        return Ok(value);
    }
    let what = "a list or a map can neither be multiplied nor be an attribute of a namespace; use a text or a number, or `{% for %}`";
    Err(Error::new(ErrorKind::InvalidOperation, what))
}

struct Measure<'a, 't, 'e> {
    state: &'a State<'t, 'e>,
    /// Elements that are not yet charged.
    owed: u64,
}

impl Measure<'_, '_, '_> {
    fn settle(&mut self) -> Result<(), Error> {
        self.state.consume_fuel(std::mem::take(&mut self.owed).div_ceil(ELEMENTS))
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.owed += 1;
        if self.owed >= 64 {
            self.settle()?;
        }
        if let Some(text) = value.as_str() {
            return if text.len() < 64 { Ok(()) } else { self.state.consume_fuel(text.len() as u64 / BYTES) };
        }
        value.as_object().map_or(Ok(()), |object| self.object(object, depth))
    }

    fn object(&mut self, object: &DynObject, depth: usize) -> Result<(), Error> {
        if depth >= DEPTH_MAX {
            let what = format!("more than {DEPTH_MAX} lists and maps are nested");
            return Err(Error::new(ErrorKind::InvalidOperation, what));
        }
        match object.repr() {
            ObjectRepr::Map => {
                for (key, value) in object.try_iter_pairs().into_iter().flatten() {
                    self.value(&key, depth + 1)?;
                    self.value(&value, depth + 1)?;
                }
            }
            ObjectRepr::Seq | ObjectRepr::Iterable => {
                for value in object.try_iter().into_iter().flatten() {
                    self.value(&value, depth + 1)?;
                }
            }
            // A macro or a function.
            _ => {}
        }
        if depth == 0 { self.settle() } else { Ok(()) }
    }
}
