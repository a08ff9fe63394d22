//! Draws curves as SVG with two logarithmic axes.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

/// A named curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// The curve's name in the legend.
    pub name: String,
    /// The points, with x ascending.
    pub points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (900, 480);

/// Draws the curves; those without points are left out. Nothing is drawn if there is none.
pub fn draw(file: &Path, title: &str, x: &str, y: &str, curves: &[Curve]) -> Result<bool, Box<dyn Error>> {
    let all = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let span = |of: fn((f64, f64)) -> f64| {
        let (low, high) =
            all().map(of).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        (low * 0.8)..(high * 1.25)
    };
    if all().next().is_none() {
        return Ok(false);
    }
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(span(|(x, _)| x).log_scale(), span(|(_, y)| y).log_scale())?;
    let label = |value: &f64| if *value < 1.0 { format!("{value}") } else { format!("{value:.0}") };
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(x).y_desc(y).x_label_formatter(&label).y_label_formatter(&label).draw()?;
    for (index, curve) in curves.iter().enumerate().filter(|(_, curve)| !curve.points.is_empty()) {
        let color = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), color.stroke_width(2)))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(curve.points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(true)
}
