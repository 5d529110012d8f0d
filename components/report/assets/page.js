// Draws the figures with Vega-Embed when they come near the screen; sorts and filters tables.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  const draw = async (element) => {
    const spec = data.specs[element.dataset.spec];
    if (spec.data && spec.data.map) {
      spec.data = { values: data.maps[spec.data.map], format: spec.data.format };
    }
    // On a phone a legend in one row would be cut off.
    const legend = element.clientWidth < 500 ? { columns: 2 } : {};
    const config = { ...data.theme, legend: { ...data.theme.legend, ...legend } };
    try {
      const options = {
        actions: false, ast: true, renderer: "svg", config,
        tooltip: { theme: "custom", disableDefaultStyle: true },
      };
      await vegaEmbed(element, spec, options);
      element.dataset.drawn = "yes";
    } catch (error) {
      element.textContent = "This figure could not be drawn. Its numbers are in the table below.";
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
      holder.querySelector(".count").textContent = `${shown} of ${rows.length} rows`;
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
