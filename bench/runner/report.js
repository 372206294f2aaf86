"use strict";
// The charts to zoom into are made when they are opened.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const style = (element, name) => getComputedStyle(element).getPropertyValue(name).trim();

  function colourOf(name) {
    if (name === "live") return style(document.documentElement, "--ink");
    const probe = document.createElement("i");
    probe.className = "s-" + name.replace(/[^\p{L}\p{N}]/gu, "_");
    document.body.append(probe);
    const colour = style(probe, "--c");
    probe.remove();
    return colour;
  }

  function legend(box, names, colours, values) {
    box.replaceChildren(...names.map((name, at) => {
      const entry = document.createElement("span");
      const line = document.createElement("i");
      line.style.setProperty("--k", colours[at]);
      const value = values && values[at] != null ? " " + values[at].toFixed(1) + " MB" : "";
      entry.append(line, name + value);
      return entry;
    }));
  }

  function draw(details) {
    const series = data[details.dataset.workload];
    const names = series.labels.slice(1);
    const colours = names.map(colourOf);
    const box = details.querySelector(".legend");
    legend(box, names, colours);
    return new Dygraph(details.querySelector(".chart"), series.rows, {
      labels: series.labels,
      colors: colours,
      series: { live: { strokePattern: [5, 4], strokeWidth: 1.4 } },
      strokeWidth: 2,
      includeZero: true,
      ylabel: "resident memory, MB",
      xlabel: "seconds",
      gridLineColor: style(document.documentElement, "--line"),
      axisLineColor: style(document.documentElement, "--ink-3"),
      highlightCircleSize: 3,
      legend: "never",
      highlightCallback: (_, x, points) => {
        const found = Object.fromEntries(points.map((point) => [point.name, point.yval]));
        legend(box, names, colours, names.map((name) => found[name]));
      },
      unhighlightCallback: () => legend(box, names, colours),
    });
  }

  for (const details of document.querySelectorAll("details.zoom")) {
    let chart = null;
    details.addEventListener("toggle", () => {
      if (details.open && !chart) chart = draw(details);
    });
    dark.addEventListener("change", () => {
      if (chart) chart.destroy();
      chart = details.open ? draw(details) : null;
    });
  }
})();
