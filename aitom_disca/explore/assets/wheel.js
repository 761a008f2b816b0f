/* The wheel over a slice goes to the next slice, as in every viewer of tomograms. */
(function () {
  "use strict";
  let rest = 0;
  document.addEventListener("wheel", (event) => {
    if (event.ctrlKey || !event.target.closest("#slice .nsewdrag, #slice .cartesianlayer")) return;
    const thumb = document.querySelector(".slider.wide [role=slider]");
    if (!thumb) return;
    event.preventDefault();
    rest += event.deltaY / (event.deltaMode ? 1 : 40);
    const steps = Math.trunc(rest);
    if (!steps) return;
    rest -= steps;
    const [now, low, high] = ["valuenow", "valuemin", "valuemax"].map((name) => Number(thumb.getAttribute(`aria-${name}`)));
    const value = Math.min(high, Math.max(low, now - steps));
    if (value !== now) window.dash_clientside.set_props("slice-at", { value });
  }, { passive: false, capture: true });
})();
