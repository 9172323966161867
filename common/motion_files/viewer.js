// The controls of `viewer.html`: time, pointer, keys; `viewer_scene.js` draws.
"use strict";
(() => {
  const TOUCH_RADIUS = 14; // pixels around a joint in which the pointer is on it
  const GREY = "#8a919c";

  const element = (id) => document.getElementById(id);
  const canvas = element("scene");
  const motion = JSON.parse(element("motion").textContent);
  const scene = makeScene(canvas, motion);
  const { people, times, stateOf } = scene;

  let frame = 0;
  let clock = 0; // seconds since the first frame
  let playing = false;
  let lastTick = 0;
  let waiting = false; // for the next animation frame

  function draw() {
    scene.draw(frame);
    element("note").hidden = !scene.isEmpty();
    element("scrub").value = String(frame);
    element("follow").checked = scene.view.follow;
    const last = times[times.length - 1];
    element("time").textContent = `${times[frame].toFixed(2)} / ${last.toFixed(2)} s`;
  }

  /** A strip under the slider: where joints are interpolated, recovered, or there is no pose. */
  function drawStrip() {
    const strip = element("strip"), ink = strip.getContext("2d");
    strip.width = Math.max(1, strip.clientWidth);
    strip.height = 6;
    const perFrame = strip.width / times.length;
    for (let x = 0; x < strip.width; x += 1) {
      const from = Math.floor(x / perFrame);
      const to = Math.max(from + 1, Math.min(times.length, Math.floor((x + 1) / perFrame)));
      ink.fillStyle = stripColour(from, to);
      ink.fillRect(x, 0, 1, 6);
    }
  }

  function stripColour(from, to) {
    const state = stateOf.get(scene.stateWithin(from, to));
    return state ? scene.legible(state.colour || GREY) : scene.theme.back;
  }

  // ---- Time ---------------------------------------------------------------------------------

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(tick);
  }

  function tick(now) {
    waiting = false;
    if (playing) {
      const length = times[times.length - 1];
      clock += Math.min(now - lastTick, 250) / 1000 * Number(element("speed").value);
      if (clock > length + 0.3) clock = 0;
      frame = scene.frameAt(Math.min(clock, length));
    }
    lastTick = now;
    draw();
    if (playing) redraw();
  }

  function goTo(newFrame) {
    frame = Math.max(0, Math.min(times.length - 1, newFrame));
    clock = times[frame];
    redraw();
  }

  function setPlaying(on) {
    playing = on && times.length > 1;
    if (playing && frame === times.length - 1) clock = 0;
    element("play").textContent = playing ? "❚❚" : "▶";
    element("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    lastTick = performance.now();
    redraw();
  }

  // ---- Pointer ------------------------------------------------------------------------------

  const pointers = new Map();

  function pinch(id, x, y) {
    const [other] = [...pointers].filter(([key]) => key !== id).map(([, place]) => place);
    const before = pointers.get(id);
    const was = Math.hypot(before.x - other.x, before.y - other.y);
    scene.zoom(was / Math.max(1, Math.hypot(x - other.x, y - other.y)));
    scene.pan((x - before.x) / 2, (y - before.y) / 2);
  }

  function showTip(x, y) {
    const near = scene.jointNear(x, y, TOUCH_RADIUS);
    const tip = element("tip");
    tip.hidden = !near;
    if (!near) return;
    const { person, joint, place, state } = near;
    const name = people.length > 1 ? `${person.name}: ` : "";
    const where = place.map((value) => value.toFixed(2)).join("  ");
    tip.textContent = `${name}${person.names[joint]}\n`
      + `${(stateOf.get(state) || {}).name}\n${where} m`;
    tip.style.left = `${Math.min(x + 16, innerWidth - 190)}px`;
    tip.style.top = `${Math.max(8, y - 30)}px`;
  }

  function listenToPointer() {
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add("held");
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) { showTip(event.clientX, event.clientY); return; }
      const dx = event.clientX - before.x, dy = event.clientY - before.y;
      if (pointers.size === 2) pinch(event.pointerId, event.clientX, event.clientY);
      else if (event.shiftKey || event.buttons & 2) scene.pan(dx, dy);
      else scene.turn(dx, dy);
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      element("tip").hidden = true;
      redraw();
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => {
        pointers.delete(event.pointerId);
        canvas.classList.toggle("held", pointers.size > 0);
      });
    }
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      scene.zoom(Math.exp(Math.max(-240, Math.min(240, event.deltaY)) * 0.0015));
      redraw();
    }, { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => { scene.reset(); redraw(); });
  }

  // ---- Controls -----------------------------------------------------------------------------

  function listenToControls() {
    element("play").addEventListener("click", () => setPlaying(!playing));
    element("scrub").addEventListener("input", (event) => {
      setPlaying(false);
      goTo(Number(event.target.value));
    });
    element("reset").addEventListener("click", () => { scene.reset(); redraw(); });
    element("follow").addEventListener("change", (event) => {
      scene.view.follow = event.target.checked; redraw();
    });
    addEventListener("resize", () => { drawStrip(); redraw(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      scene.readTheme(); showLegend(); drawStrip(); redraw();
    });
    addEventListener("keydown", (event) => {
      if (["INPUT", "SELECT", "BUTTON"].includes(event.target.tagName)) return;
      const steps = { ArrowLeft: frame - 1, ArrowRight: frame + 1, Home: 0, End: times.length };
      if (event.key === " ") setPlaying(!playing);
      else if (event.key in steps) { setPlaying(false); goTo(steps[event.key]); }
      else return;
      event.preventDefault();
    });
  }

  function showPeople() {
    for (const person of people) {
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => {
        person.shown = box.checked; drawStrip(); redraw();
      });
      if (people.length > 1) label.append(box, " ");
      label.append(person.title);
      element("people").append(label);
    }
  }

  function showLegend() {
    const entries = [
      ...motion.sides.map((side) => ({ name: side.name, line: side.colour })),
      ...motion.states.map((state) => ({ name: state.name, line: GREY, dash: state.dash,
        dot: state.colour || GREY })),
    ];
    element("legend").replaceChildren(...entries.map((entry) => {
      const row = document.createElement("div"), sample = document.createElement("canvas");
      sample.width = 80; sample.height = 32;
      sample.style.width = "40px"; sample.style.height = "16px";
      drawSample(sample.getContext("2d"), entry);
      row.append(sample, entry.name);
      return row;
    }));
  }

  function drawSample(ink, { line, dash, dot }) {
    ink.scale(2, 2);
    ink.lineCap = "round";
    ink.lineWidth = 4;
    ink.strokeStyle = scene.legible(line);
    ink.setLineDash((dash || []).map((length) => 4 * length));
    ink.beginPath(); ink.moveTo(3, 8); ink.lineTo(dot ? 30 : 37, 8); ink.stroke();
    if (!dot) return;
    ink.fillStyle = scene.legible(dot);
    ink.beginPath(); ink.arc(33, 8, 5, 0, 2 * Math.PI); ink.fill();
  }

  element("scrub").max = String(times.length - 1);
  showPeople();
  showLegend();
  listenToPointer();
  listenToControls();
  drawStrip();
  redraw();
})();
