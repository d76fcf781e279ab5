use super::*;

fn figure() -> Figure {
    let curve: Vec<RatePoint> = [1.0, 10.0, 100.0, 500.0]
        .map(|load| RatePoint {
            load,
            naive: 1.0 - (-load * 60.0 / 64_512.0_f64).exp(),
            closed_form: (load < 400.0).then_some(1e-9 * load * load * load),
        })
        .to_vec();
    let runs = [MeasuredPoint {
        load: 350.0,
        value: 0.0008,
        lo95: 0.0,
        hi95: 0.001,
    }];
    naive_birthday("a test", &curve, &runs)
}

#[test]
fn a_figure_is_written_as_svg_and_png_without_any_font_of_the_system() {
    let place = tempfile::tempdir().unwrap();
    for (name, magic) in [("a.svg", &b"<svg"[..]), ("a.png", &b"\x89PNG"[..])] {
        let path = place.path().join(name);
        figure().write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(
            bytes.starts_with(magic) && bytes.len() > 3_000,
            "{name}: {} octets",
            bytes.len()
        );
    }
    assert!(matches!(
        figure().write(&place.path().join("a.pdf")),
        Err(PlotError::UnknownFormat)
    ));
}

#[test]
fn rates_without_a_place_on_a_logarithmic_axis_are_left_out_or_drawn_at_its_edge() {
    let figure = figure();
    let Mark::Line(closed) = &figure.series[1].mark else {
        panic!("a line")
    };
    assert!(closed.iter().all(|&(_, y)| y >= figure.y.from));
    let Mark::Points(points) = &figure.series[2].mark else {
        panic!("points")
    };
    assert_eq!(points[0].2, figure.y.from);
}
