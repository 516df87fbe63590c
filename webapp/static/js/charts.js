// Draws the charts of a result from the numbers embedded in the page. The library is fetched only
// where there is a chart; colours come from the stylesheet, so a chart follows light and dark.
"use strict";

const librarySource = document.currentScript.dataset.chartLibrary;
const drawn = new Set();
let library;
const LONGEST_LABEL = 18;
// As many names as fit below the bars at an angle; of more, the library leaves some out.
const MOST_LABELS = 12;

function loadLibrary() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = librarySource;
    script.addEventListener("load", resolve);
    script.addEventListener("error", reject);
    document.head.append(script);
  });
  return library;
}

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function shortened(text) {
  return text.length > LONGEST_LABEL ? `${text.slice(0, LONGEST_LABEL - 1)}…` : text;
}

function settings(data, view) {
  const numbers = new Intl.NumberFormat("en");
  const scale = { grid: { color: token("--chart-grid") }, ticks: { color: token("--text-quiet") } };
  const unit = view.unit ? ` ${view.unit}` : "";
  const calm = window.matchMedia("(prefers-reduced-motion: reduce), print").matches;
  return {
    type: view.type,
    data: {
      labels: data.labels,
      datasets: [{
        label: view.label,
        data: view.values,
        borderColor: token("--chart-1"),
        backgroundColor: view.type === "bar" ? token("--chart-1") : token("--chart-1-soft"),
        borderWidth: view.type === "bar" ? 0 : 2,
        fill: view.type === "line",
        pointRadius: view.values.length > 60 ? 0 : 3,
        maxBarThickness: 48,
        spanGaps: false,
      }],
    },
    options: {
      animation: calm ? false : { duration: 250 },
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      plugins: {
        legend: { display: false },
        tooltip: { callbacks: { label: (item) => `${view.label}: ${numbers.format(item.raw)}${unit}` } },
      },
      scales: {
        x: { ...scale, grid: { display: false }, ticks: {
          ...scale.ticks, maxRotation: 45, autoSkip: data.labels.length > MOST_LABELS, autoSkipPadding: 12,
          callback(value) { return shortened(this.getLabelForValue(value)); },
        } },
        y: { ...scale, title: { display: Boolean(view.unit), text: view.unit, color: token("--text-quiet") }, beginAtZero: view.type === "bar", ticks: { ...scale.ticks, precision: 0, callback: (value) => numbers.format(value) } },
      },
    },
  };
}

class Drawing {
  constructor(figure) {
    this.figure = figure;
    this.data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    this.index = 0;
    for (const button of figure.querySelectorAll("[data-view]")) {
      button.addEventListener("click", () => this.show(Number(button.dataset.view)));
    }
    this.draw();
  }

  show(index) {
    this.index = index;
    for (const button of this.figure.querySelectorAll("[data-view]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.view) === index));
    }
    this.draw();
  }

  draw() {
    this.chart?.destroy();
    const view = this.data.views[this.index];
    const canvas = this.figure.querySelector("canvas");
    canvas.setAttribute("aria-label", `${this.data.title}, ${view.label}. The same numbers are in the table next to it.`);
    this.chart = new Chart(canvas, settings(this.data, view));
    this.figure.dataset.drawn = view.name;
  }
}

async function drawAll() {
  for (const drawing of drawn) {
    if (drawing.figure.isConnected) continue;
    drawing.chart?.destroy();
    drawn.delete(drawing);
  }
  const figures = [...document.querySelectorAll("[data-chart]:not([data-found])")];
  for (const figure of figures) figure.dataset.found = "";
  if (!figures.length) return;
  await loadLibrary();
  for (const figure of figures) drawn.add(new Drawing(figure));
}

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const drawing of drawn) drawing.draw();
});
document.addEventListener("htmx:after:swap", drawAll);
drawAll();
