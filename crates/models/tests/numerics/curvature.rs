//! Products with the Hessian against exact second derivatives: of the stored Llama by PyTorch's double backward in f64
//! (`vectors/make_hessian.py`), and against second differences of the loss.

use candle_core::{Device, Tensor};
use models::{Direction, ModelConfig, ParameterId, Role, Transformer, checkpoint};

use crate::parity_transformers::stored_batch;
use crate::support::{Vectors, random_batch, random_model, vector_path};

/// The hidden matrices by name.
fn hidden(model: &Transformer) -> Vec<ParameterId> {
    let matrices = model.parameters().iter().filter(|(_, p)| matches!(p.role, Role::HiddenMatrix(_)));
    let mut named: Vec<_> = matrices.map(|(id, parameter)| (parameter.name.clone(), id)).collect();
    named.sort();
    named.into_iter().map(|(_, id)| id).collect()
}

fn direction(model: &Transformer, entry: impl Fn(usize, usize) -> f64) -> Direction {
    let part = |(place, id): (usize, ParameterId)| {
        let dims = model.parameters().value(id).dims();
        let values: Vec<f32> = (0..dims.iter().product()).map(|i| entry(i, place) as f32).collect();
        (id, Tensor::from_vec(values, dims, &Device::Cpu).unwrap())
    };
    Direction::new(hidden(model).into_iter().enumerate().map(part)).unwrap()
}

#[track_caller]
fn assert_near(found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() < tolerance, "{found}, expected {expected}");
}

#[test]
fn curvature_along_a_direction_is_that_of_pytorchs_exact_hessian() {
    let model = checkpoint::load(&vector_path("llama")).unwrap();
    let batch = [stored_batch(&Vectors::open("llama/expected.safetensors"))];
    let d = direction(&model, |i, place| (0.7 * i as f64 + place as f64).cos());
    let e = direction(&model, |i, place| (0.3 * i as f64 + 2.0 * place as f64).sin());
    // python make_hessian.py
    let (slope, squares, along, across) =
        (-0.111_599_139_736, 4_608.312_187_176, -8.887_956_386_267, -31.247_010_612_861);
    let (_, gradient) = model.mean_gradient(&batch, &hidden(&model)).unwrap();
    assert_near(gradient.dot(&d).unwrap(), slope, 1e-4);
    assert_near(d.dot(&d).unwrap(), squares, 1e-6);
    for share in [1e-3, 3e-3] {
        let product = model.hessian_product(&batch, &d, share).unwrap();
        assert_near(d.dot(&product).unwrap(), along, 2e-2);
        assert_near(e.dot(&product).unwrap(), across, 2e-2);
    }
}

#[test]
fn products_are_symmetric_and_linear_in_the_direction() {
    let model = random_model(&ModelConfig::llama(11, 6, 1, 8, 2, 2), 0.4, 3);
    let batch = [random_batch(3, 6, 11, 5)];
    let a = direction(&model, |i, place| (1.3 * i as f64 + place as f64).cos());
    let b = direction(&model, |i, place| (0.9 * i as f64 - place as f64).sin());
    let product = |d: &Direction| model.hessian_product(&batch, d, 3e-3).unwrap();
    let (of_a, of_b) = (product(&a), product(&b));
    assert_near(a.dot(&of_b).unwrap(), b.dot(&of_a).unwrap(), 2e-2);
    let sum = a.combined(1.0, &b, 2.0).unwrap();
    let expected = of_a.combined(1.0, &of_b, 2.0).unwrap();
    let off = product(&sum).combined(1.0, &expected, -1.0).unwrap().norm().unwrap();
    assert!(off < 2e-2 * expected.norm().unwrap(), "{off}");
    // The loss itself bends so along the ray.
    let loss = |length: f64| model.moved(&a, length).unwrap().loss(&batch[0]).unwrap().mean();
    let step = 0.02;
    let second = (loss(step) - 2.0 * loss(0.0) + loss(-step)) / (step * step);
    assert_near(a.dot(&of_a).unwrap(), second, 5e-2);
}

#[test]
fn a_direction_of_zeros_and_one_of_other_parameters_are_refused() {
    let model = random_model(&ModelConfig::llama(11, 6, 1, 8, 2, 2), 0.4, 3);
    let batch = [random_batch(1, 6, 11, 5)];
    let zeros = direction(&model, |_, _| 0.0);
    assert!(model.hessian_product(&batch, &zeros, 1e-3).unwrap_err().to_string().starts_with("direction: "));
    let one = zeros.within(&hidden(&model)[..1]);
    assert_eq!((one.iter().count(), one.count()), (1, model.parameters().value(hidden(&model)[0]).elem_count()));
    assert!(zeros.dot(&one).is_err() && zeros.combined(1.0, &one, 1.0).is_err());
}
