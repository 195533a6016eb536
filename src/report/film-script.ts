/**
 * @file The only script of a report: it stacks the frames of a film, so that the text sharpens in place, and adds a slider
 * and a button. It plays once when it comes into view, unless the reader has asked for less motion.
 */
export const FILM_SCRIPT = `
for (const film of document.querySelectorAll("[data-film]")) {
  const frames = [...film.querySelectorAll(".frame")];
  if (frames.length < 2) continue;
  const controls = document.createElement("div");
  controls.className = "controls";
  const play = document.createElement("button");
  play.type = "button";
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = 0;
  slider.max = frames.length - 1;
  slider.setAttribute("aria-label", "Denoising step");
  controls.append(play, slider);
  film.before(controls);
  film.classList.add("stage");
  let timer = 0;
  const show = (index) => {
    slider.value = index;
    slider.setAttribute("aria-valuetext", frames[index].querySelector("figcaption").textContent);
    frames.forEach((frame, i) => frame.classList.toggle("on", i === index));
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  };
  const start = () => {
    show(Number(slider.value) === frames.length - 1 ? 0 : Number(slider.value));
    play.textContent = "Pause";
    timer = setInterval(() => {
      const next = Number(slider.value) + 1;
      if (next < frames.length) show(next);
      if (next >= frames.length - 1) stop();
    }, 500);
  };
  play.onclick = () => (timer ? stop() : start());
  slider.oninput = () => {
    stop();
    show(Number(slider.value));
  };
  stop();
  show(0);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      start();
    }, { threshold: 0.3 });
    seen.observe(film);
  }
}
`;
