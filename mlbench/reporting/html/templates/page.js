"use strict";
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const remembered = (theme) => {
    try { return theme ? localStorage.setItem("mlbench-theme", theme) : localStorage.getItem("mlbench-theme"); }
    catch { return null; }  // storage may be forbidden for files
  };
  if (remembered()) root.dataset.theme = remembered();
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    remembered(root.dataset.theme);
  });

  const large = document.getElementById("large");
  large.remove();  // in the page only while it is open: a picture without a source is none
  large.addEventListener("click", () => large.close());
  large.addEventListener("close", () => large.remove());
  for (const button of document.querySelectorAll(".enlarge")) {
    button.addEventListener("click", () => {
      document.body.append(large);
      large.querySelector("img").src = button.querySelector("img").src;
      large.showModal();
    });
  }

  const folded = [];
  window.addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach((one) => {
    folded.push(one);
    one.open = true;
  }));
  window.addEventListener("afterprint", () => folded.splice(0).forEach((one) => { one.open = false; }));

  for (const name of document.querySelectorAll(".legend li")) {  // rest on a name to see its series alone
    const chart = name.closest(".chart");
    const own = () => chart.querySelectorAll(`.series[data-series="${name.dataset.series}"]`);
    name.addEventListener("pointerenter", () => {
      chart.dataset.lit = name.dataset.series;
      own().forEach((one) => one.classList.add("lit"));
    });
    name.addEventListener("pointerleave", () => {
      delete chart.dataset.lit;
      own().forEach((one) => one.classList.remove("lit"));
    });
  }

  const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const numbered = /^[+-]?(\d[\d,]*\.?\d*|\.\d+)(e[+-]?\d+)?(?![\w-])/i;  // how a number begins, not a date
  const text = (row, column) => row.cells[column].textContent.trim();
  const value = (row, column, numeric) => {
    const sort = row.cells[column].dataset.sort;
    if (sort !== undefined) return Number(sort);
    return numeric && text(row, column) ? Number(numbered.exec(text(row, column))[0].replaceAll(",", "")) : text(row, column);
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : words.compare(a, b));

  const sort = (table, heads, column) => {
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const all = [...table.tBodies[0].rows];
    const numeric = all.every((row) => text(row, column) === "" || numbered.test(text(row, column)));
    const rows = all.map((row) => [value(row, column, numeric), row]);
    const missing = ([key]) => key === "";
    rows.sort((a, b) => missing(a) - missing(b) || (down ? compare(b[0], a[0]) : compare(a[0], b[0])));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };

  const filter = (box, table, heads) => {
    const wanted = box.querySelector("input[type=search]").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...box.querySelectorAll("select")].filter((select) => select.value);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(wanted.every((word) => text.includes(word))
        && chosen.every((select) => row.cells[select.dataset.column].textContent.trim() === select.value));
    }
    const shown = rows.filter((row) => !row.hidden);
    heads.forEach((head, column) => {  // columns that say nothing about what is left go away
      const empty = shown.length > 0 && shown.every((row) => row.cells[column].textContent.trim() === "");
      head.classList.toggle("empty", empty);
      for (const row of rows) row.cells[column].classList.toggle("empty", empty);
    });
    box.querySelector(".count").textContent = `${shown.length} of ${rows.length}`;
  };

  for (const box of document.querySelectorAll("[data-table]")) {
    const table = box.querySelector("table");
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(table, heads, column)));
    if (box.querySelector(".tools")) {
      const again = () => filter(box, table, heads);
      box.querySelector(".tools").addEventListener("input", again);
      again();
    }
  }
})();
