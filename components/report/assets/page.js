// Draws the charts with Vega-Embed when they come into view; sorts, filters and marks tables.
"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("data").textContent);

  // How all charts look. Colours are variables of the page, so that a chart follows light and
  // dark mode without being drawn again.
  const muted = "var(--muted)", first = "var(--c1)";
  const label = { labelColor: muted, titleColor: muted, titleFontWeight: "normal" };
  const small = { ...label, labelFontSize: 11, titleFontSize: 12 };
  const theme = {
    background: "transparent",
    font: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    // The last label of an axis reaches beyond its end.
    padding: { left: 4, top: 4, bottom: 4, right: 14 },
    autosize: { type: "fit", contains: "padding" },
    view: { stroke: "transparent" },
    axis: {
      ...small, gridColor: "var(--grid)", domainColor: "var(--line)", tickColor: "var(--line)",
      // Long labels leave a narrow screen to what they name; the width is the plot's alone.
      labelLimit: { expr: "max(95, min(180, 0.62 * width))" },
      labelFlush: false, labelSeparation: 5,
    },
    axisX: { grid: false },
    axisXDiscrete: { labelAngle: 0, labelOverlap: "greedy" },
    legend: { ...small, orient: "top", symbolStrokeWidth: 2, columnPadding: 8, labelLimit: 240 },
    bar: { color: first, cornerRadiusEnd: 2 },
    line: { color: first, strokeWidth: 2 },
    point: { color: first, filled: true },
    rule: { color: muted },
    text: { color: "var(--ink)", fontSize: 11 },
    scale: { invalid: { color: { value: "var(--none)" }, fill: { value: "var(--none)" } } },
    range: { category: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => `var(--c${number})`) },
  };

  const draw = async (element) => {
    const spec = specs[element.dataset.spec];
    // On a phone a legend in one row would be cut off.
    const width = element.clientWidth;
    const legend = width < 500 ? { columns: 2, labelLimit: width / 2 - 70 } : {};
    const config = { ...theme, legend: { ...theme.legend, ...legend } };
    try {
      const options = {
        actions: false, ast: true, renderer: "svg", config,
        tooltip: { theme: "custom", disableDefaultStyle: true },
      };
      await vegaEmbed(element, spec, options);
      element.dataset.drawn = "yes";
    } catch (error) {
      element.textContent = "This chart could not be drawn. Its numbers are in the table below.";
      console.error(element.dataset.spec, error);
    }
  };

  const charts = document.querySelectorAll("[data-spec]");
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((entry) => entry.isIntersecting)) {
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  charts.forEach((chart) => near.observe(chart));
  addEventListener("beforeprint", () => charts.forEach((chart) => chart.dataset.drawn || draw(chart)));

  // A table that is wider than its place says so, until it was scrolled to its end.
  const scrolls = document.querySelectorAll(".scroll");
  const mark = (box) =>
    box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  const sized = new ResizeObserver((entries) => entries.forEach((entry) => mark(entry.target)));
  scrolls.forEach((box) => {
    sized.observe(box);
    box.addEventListener("scroll", () => mark(box), { passive: true });
  });

  const keyOf = (cell) => {
    if (!("key" in cell.dataset)) return cell.textContent;
    const key = cell.dataset.key;
    return key === "" || Number.isNaN(Number(key)) ? -Infinity : Number(key);
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));

  for (const button of document.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const descending = heading.getAttribute("aria-sort") === "ascending" ||
        (!heading.hasAttribute("aria-sort") && heading.classList.contains("number"));
      for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = heading.closest("table").tBodies[0];
      const rows = [...body.rows].map((row) => [keyOf(row.cells[heading.cellIndex]), row]);
      rows.sort((a, b) => (descending ? compare(b[0], a[0]) : compare(a[0], b[0])));
      body.append(...rows.map(([, row]) => row));
    });
  }

  for (const input of document.querySelectorAll("[data-filter]")) {
    const holder = document.getElementById(input.dataset.filter);
    const rows = [...holder.querySelectorAll("tbody tr")];
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      const shown = rows.filter((row) => !row.hidden).length;
      holder.querySelector(".count").textContent = `${shown} of ${rows.length} row${rows.length === 1 ? "" : "s"}`;
    });
  }

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const here = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((entry) => entry.isIntersecting)) {
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => here.observe(section));
})();
