"use strict";
const root = document.documentElement;
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

const number = text => {
  const found = /^[+-]?(\d[\d,]*\.?\d*|\.\d+)(e[+-]?\d+)?/i.exec(text.trim());
  return found ? Number(found[0].replaceAll(",", "")) : NaN;
};

function sort(table, place, heading) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = Array.from(table.tBodies[0].rows, row => [row.cells[place].innerText, row]);
  const order = ([one], [other]) => {
    const [a, b] = [number(one), number(other)];
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b) || one.localeCompare(other);
    return a - b;
  };
  rows.sort((one, other) => (down ? -1 : 1) * order(one, other));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const box of document.querySelectorAll(".table")) {
  const table = box.querySelector("table");
  for (const [place, heading] of Array.from(table.tHead.rows[0].cells).entries())
    heading.firstElementChild.addEventListener("click", () => sort(table, place, heading));
  box.querySelector("input")?.addEventListener("input", event => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
  });
}
