// Draws the charts of a result from the numbers embedded in the page. The library is fetched only
// where a chart comes into view; colours come from the stylesheet, so a chart follows light and
// dark. View and range stand in the address, behind the name of the chart's table.
"use strict";

const librarySource = document.currentScript.dataset.chartLibrary;
const drawn = new Set();
let library;
const LONGEST_LABEL = 18;
// As many names as fit below the bars at an angle; of more, the library leaves some out.
const MOST_LABELS = 12;
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [12, 4], [4, 2], [1, 2], [10, 2, 2, 2]];
const POINTS = ["circle", "rect", "triangle", "rectRot", "cross", "star", "line", "crossRot"];

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

const probe = document.createElement("span");

function token(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

function shortened(text) {
  return text.length > LONGEST_LABEL ? `${text.slice(0, LONGEST_LABEL - 1)}…` : text;
}

// What is not over is hatched, so that colour is not all that tells it apart.
function hatched(colour) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  for (const shift of [-8, 0, 8]) {
    pen.moveTo(shift, 8);
    pen.lineTo(shift + 8, 0);
  }
  pen.stroke();
  return pen.createPattern(tile, "repeat");
}

function datasets(data, view, from, to, hidden) {
  const open = new Set(data.open);
  return view.series.map((one, index) => {
    const colour = token(`--chart-${index % 8 + 1}`);
    const pattern = open.size ? hatched(colour) : colour;
    const bars = view.type === "bar";
    return {
      label: one.name,
      data: one.values.slice(from, to + 1),
      hidden: hidden.has(one.name),
      borderColor: colour,
      backgroundColor: bars ? (item) => (open.has(item.dataIndex + from) ? pattern : colour) : token("--chart-1-soft"),
      borderWidth: bars ? 0 : 2,
      borderDash: DASHES[index % 8],
      pointStyle: POINTS[index % 8],
      pointRadius: to - from > 60 ? 0 : 3,
      fill: !bars && view.series.length === 1,
      segment: { borderDash: (item) => (open.has(item.p1DataIndex + from) ? [4, 4] : undefined) },
      maxBarThickness: 48,
      spanGaps: false,
    };
  });
}

// A hole is marked at the foot of the chart: nothing is known there, which is not zero.
const holes = {
  id: "holes",
  afterDatasetsDraw(chart) {
    const { ctx, chartArea, scales } = chart;
    if (chart.data.datasets.length > 1) return;
    ctx.save();
    ctx.fillStyle = token("--warn");
    ctx.textAlign = "center";
    chart.data.datasets[0].data.forEach((value, index) => {
      if (value === null) ctx.fillText("×", scales.x.getPixelForValue(index), chartArea.bottom - 5);
    });
    ctx.restore();
  },
};

function settings(data, view, from, to, hidden) {
  const numbers = new Intl.NumberFormat(document.documentElement.dataset.numbers || "en");
  const quiet = token("--text-quiet");
  const values = view.series.flatMap((one) => one.values.slice(from, to + 1)).filter((one) => one !== null);
  const isBroken = view.type === "line" && Math.min(...values) >= 0.6 * Math.max(...values) && values.length > 0;
  const unit = view.unit ? ` ${view.unit}` : "";
  const calm = window.matchMedia("(prefers-reduced-motion: reduce), print").matches;
  const title = (text) => ({ display: true, text, color: quiet });
  return {
    type: view.type,
    plugins: [holes],
    data: { labels: data.labels.slice(from, to + 1), datasets: datasets(data, view, from, to, hidden) },
    options: {
      animation: calm ? false : { duration: 250 },
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      plugins: {
        legend: { display: false },
        tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${numbers.format(item.raw)}${unit}` } },
      },
      scales: {
        x: { grid: { display: false }, title: title(data.x), ticks: {
          color: quiet, maxRotation: 45, autoSkip: to - from >= MOST_LABELS, autoSkipPadding: 12,
          callback(value) { return shortened(this.getLabelForValue(value)); },
        } },
        y: {
          grid: { color: token("--chart-grid") },
          title: title(`${view.label}${view.unit ? ` (${view.unit})` : ""}${isBroken ? "; not from zero" : ""}`),
          beginAtZero: !isBroken,
          ticks: { color: quiet, precision: values.every(Number.isInteger) ? 0 : undefined, callback: (value) => numbers.format(value) },
        },
      },
    },
  };
}

class Drawing {
  constructor(figure) {
    this.figure = figure;
    this.data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    this.hidden = new Set();
    const last = this.data.labels.length - 1;
    const asked = new URLSearchParams(location.search);
    const place = (name, otherwise) => {
      const found = this.data.labels.indexOf(asked.get(`chart.${this.data.table}.${name}`));
      return found < 0 ? otherwise : found;
    };
    this.index = Math.max(this.data.views.findIndex((view) => view.name === asked.get(`chart.${this.data.table}.view`)), 0);
    this.from = place("from", 0);
    this.to = Math.max(place("to", last), this.from);
    for (const button of figure.querySelectorAll("[data-view]")) {
      button.addEventListener("click", () => this.change({ index: Number(button.dataset.view) }));
    }
    for (const select of figure.querySelectorAll("[data-range]")) {
      select.value = String(this[select.dataset.range]);
      select.addEventListener("change", () => this.change({ [select.dataset.range]: Number(select.value) }));
    }
    figure.querySelector("[data-png]")?.addEventListener("click", () => this.save());
    this.draw();
  }

  change(wanted) {
    Object.assign(this, wanted);
    if (this.from > this.to) [this.from, this.to] = [this.to, this.from];
    for (const select of this.figure.querySelectorAll("[data-range]")) select.value = String(this[select.dataset.range]);
    const { data } = this;
    const address = new URL(location);
    const keep = (name, value, otherwise) => {
      const key = `chart.${data.table}.${name}`;
      if (value === otherwise) address.searchParams.delete(key);
      else address.searchParams.set(key, value);
    };
    keep("view", data.views[this.index].name, data.views[0].name);
    keep("from", data.labels[this.from], data.labels[0]);
    keep("to", data.labels[this.to], data.labels.at(-1));
    history.replaceState(history.state, "", address);
    this.draw();
  }

  legend(view) {
    const list = this.figure.querySelector(".chart-legend");
    if (!list) return;
    list.replaceChildren(...(view.series.length < 2 ? [] : view.series).map((one, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = one.name;
      button.style.setProperty("--own", `var(--chart-${index % 8 + 1})`);
      button.setAttribute("aria-pressed", String(!this.hidden.has(one.name)));
      button.addEventListener("click", () => {
        if (!this.hidden.delete(one.name)) this.hidden.add(one.name);
        button.setAttribute("aria-pressed", String(!this.hidden.has(one.name)));
        this.chart.setDatasetVisibility(index, !this.hidden.has(one.name));
        this.chart.update();
      });
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
  }

  save() {
    const link = document.createElement("a");
    const copy = document.createElement("canvas");
    const { canvas } = this.chart;
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const pen = copy.getContext("2d");
    pen.fillStyle = token("--surface");
    pen.fillRect(0, 0, copy.width, copy.height);
    pen.drawImage(canvas, 0, 0);
    link.href = copy.toDataURL("image/png");
    link.download = `${this.data.table}-${this.data.views[this.index].name}.png`;
    link.click();
  }

  draw() {
    this.chart?.destroy();
    const view = this.data.views[this.index];
    for (const button of this.figure.querySelectorAll("[data-view]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.view) === this.index));
    }
    const canvas = this.figure.querySelector("canvas");
    canvas.setAttribute("aria-label", `${view.heading}. ${view.says}`);
    const show = (selector, text) => { const found = this.figure.querySelector(selector); if (found) found.textContent = text; };
    show("h2", view.heading);
    show(".chart-says", view.says);
    const svg = this.figure.querySelector("[data-svg]");
    if (svg) svg.search = `?view=${this.index}`;
    this.legend(view);
    this.chart = new Chart(canvas, settings(this.data, view, this.from, this.to, this.hidden));
    this.figure.dataset.drawn = view.name;
  }
}

const inView = new IntersectionObserver(async (seen) => {
  const figures = seen.filter((one) => one.isIntersecting).map((one) => one.target);
  for (const figure of figures) inView.unobserve(figure);
  if (!figures.length) return;
  await loadLibrary();
  for (const figure of figures) if (figure.isConnected) drawn.add(new Drawing(figure));
}, { rootMargin: "200px" });

function drawAll() {
  for (const drawing of drawn) {
    if (drawing.figure.isConnected) continue;
    drawing.chart?.destroy();
    drawn.delete(drawing);
  }
  for (const figure of document.querySelectorAll("[data-chart]:not([data-found])")) {
    figure.dataset.found = "";
    inView.observe(figure);
  }
}

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const drawing of drawn) drawing.draw();
});
document.addEventListener("htmx:after:swap", drawAll);
drawAll();
