// The scene of `viewer.html`: people on a ground grid, drawn on a canvas, without any library.
// World coordinates: metres, z up, the ground at z = 0.
"use strict";

/**
 * What draws a motion.
 * @param canvas where it is drawn.
 * @param motion the content of the page, see `viewer_file.py`.
 */
function makeScene(canvas, motion) {
  const MISSING = -32768; // of the int16 coordinates
  const EMPTY = 0; // the state of a joint in a frame without a pose
  const GROUND_CELLS = 12; // from the middle of the ground to its edge
  const FOLLOWED_FROM = 5; // metres: a motion that goes further is followed from the start
  const FOLLOW_SECONDS = 2;
  const PERSPECTIVE = 1.6; // focal length in units of the smaller side of the window
  const FILLED = [0.88, 0.74]; // of the window's width and height, by the motion
  const LIFTED = 0.03; // of the window's height, for the bar below

  const context = canvas.getContext("2d");
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const times = new Float32Array(bytes(motion.time).buffer);
  const people = motion.people.map((person) => ({
    ...person,
    points: new Int16Array(bytes(person.points).buffer),
    state: bytes(person.state),
    joints: person.parents.length,
    shown: true,
  }));
  const stateOf = new Map(motion.states.map((state) => [state.value, state]));
  const view = {};
  const theme = {};
  let frame = 0;
  let drawn = []; // joints on the screen, for the pointer

  // ---- Motion -------------------------------------------------------------------------------

  /** The joint of a person in a frame as [x, y, z] in metres, or null. */
  function jointAt(person, ofFrame, joint) {
    const at = (ofFrame * person.joints + joint) * 3;
    if (person.points[at] === MISSING) return null;
    return [0, 1, 2].map((axis) => person.points[at + axis] * person.scale + person.origin[axis]);
  }

  /** The last frame that has begun at a time. */
  function frameAt(seconds) {
    let low = 0, high = times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (times[middle] <= seconds + 1e-4) low = middle; else high = middle - 1;
    }
    return low;
  }

  /** Frames spread over a stretch of time, fifty at most. */
  function framesAround(from, to) {
    const step = Math.max(1, Math.ceil((to - from + 1) / 50));
    const frames = [];
    for (let f = from; f <= to; f += step) frames.push(f);
    return frames;
  }

  /** The mean place of the roots of the people that are shown, [x, y], or null. */
  function meanPlace(frames) {
    const sum = [0, 0];
    let count = 0;
    for (const person of people) {
      if (!person.shown) continue;
      for (const f of frames) {
        const root = jointAt(person, f, 0);
        if (root) { sum[0] += root[0]; sum[1] += root[1]; count += 1; }
      }
    }
    return count ? sum.map((value) => value / count) : null;
  }

  /** Joints of a few hundred frames: where they are, and from the middle of their frame. */
  function sampleJoints() {
    const samples = [];
    const step = Math.max(1, Math.floor(times.length / 300));
    for (let f = 0; f < times.length; f += step) {
      const place = meanPlace([f]);
      for (const person of people) {
        for (let joint = 0; joint < person.joints; joint += 1) {
          const at = jointAt(person, f, joint);
          if (at) samples.push({ at, from: [at[0] - place[0], at[1] - place[1], at[2]] });
        }
      }
    }
    return samples;
  }

  // ---- View ---------------------------------------------------------------------------------

  const samples = sampleJoints();
  const ranges = [0, 1, 2].map((axis) => {
    const values = samples.map(({ at }) => at[axis]);
    return values.length
      ? [Math.min(...values), Math.max(...values)] : [[-1, 1], [-1, 1], [0, 2]][axis];
  });
  const spread = Math.hypot(...ranges.slice(0, 2).map(([low, high]) => high - low));

  function reset() {
    view.azimuth = motion.azimuth;
    view.elevation = 0.24;
    view.follow = spread > FOLLOWED_FROM;
    view.centre = ranges.map(([low, high]) => (low + high) / 2);
    view.pan = [0, 0, 0];
    let near = 0.5, far = 500;
    while (far / near > 1.01) {
      view.distance = Math.sqrt(near * far);
      if (holdsMotion()) far = view.distance; else near = view.distance;
    }
  }

  /** Whether the motion, or the part of it that is followed, is well inside the window. */
  function holdsMotion() {
    const { width, height } = viewSize();
    const project = projector(view.follow ? [0, 0, view.centre[2]] : view.centre);
    return samples.every((sample) => {
      const at = project(view.follow ? sample.from : sample.at);
      return at && Math.abs(at[0] / width - 0.5) < FILLED[0] / 2
        && Math.abs(at[1] / height - 0.5 + LIFTED) < FILLED[1] / 2;
    });
  }

  /** Directions to the right, downwards and ahead in the view. */
  function viewAxes() {
    const [ca, sa] = [Math.cos(view.azimuth), Math.sin(view.azimuth)];
    const [ce, se] = [Math.cos(view.elevation), Math.sin(view.elevation)];
    return [[sa, -ca, 0], [-se * ca, -se * sa, -ce], [ce * ca, ce * sa, -se]];
  }

  function target() {
    let [x, y, z] = view.centre;
    if (view.follow) {
      // As far back as ahead, so that who walks is in the middle at both ends, too.
      const now = times[frame], last = times[times.length - 1];
      const half = Math.min(FOLLOW_SECONDS / 2, now, last - now);
      const place = meanPlace(framesAround(frameAt(now - half), frameAt(now + half)));
      if (place) [x, y] = place;
    }
    return [x + view.pan[0], y + view.pan[1], z + view.pan[2]];
  }

  /** A function from world points to [x, y, depth] on the screen; null behind the eye. */
  function projector(middle) {
    const axes = viewAxes();
    const { width, height } = viewSize();
    const focal = PERSPECTIVE * Math.min(width, height);
    return (point) => {
      const from = point.map((value, axis) => value - middle[axis]);
      const [x, y, z] = axes.map((axis) => axis[0] * from[0] + axis[1] * from[1]
        + axis[2] * from[2]);
      const depth = z + view.distance;
      if (depth < 0.05 * view.distance) return null;
      return [width / 2 + focal * x / depth, (0.5 - LIFTED) * height + focal * y / depth, depth];
    };
  }

  const viewSize = () => ({ width: canvas.clientWidth, height: canvas.clientHeight });

  function turn(dx, dy) {
    view.azimuth -= dx * 0.008;
    view.elevation = Math.max(-0.3, Math.min(Math.PI / 2, view.elevation + dy * 0.008));
  }

  function zoom(factor) {
    view.distance = Math.max(0.3, Math.min(500, view.distance * factor));
  }

  function pan(dx, dy) {
    const { width, height } = viewSize();
    const metres = view.distance / (PERSPECTIVE * Math.min(width, height));
    const [right, down] = viewAxes();
    view.pan = view.pan.map((value, axis) => value
      - metres * (dx * right[axis] + dy * down[axis]));
  }

  /** The nearest joint within so many pixels of a place on the screen, as it is drawn; or none. */
  function jointNear(x, y, radius) {
    return drawn.filter(({ at }) => Math.hypot(at[0] - x, at[1] - y) < radius).pop();
  }

  /** The highest state of the people that are shown in frames from one to another, not with it. */
  function stateWithin(from, to) {
    let found = EMPTY;
    for (const person of people) {
      if (!person.shown) continue;
      for (let at = from * person.joints; at < to * person.joints; at += 1) {
        found = Math.max(found, person.state[at]);
      }
    }
    return found;
  }

  // ---- Drawing ------------------------------------------------------------------------------

  function readTheme() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["back", "text", "faint", "grid", "shadow", "halo"]) {
      theme[name] = style.getPropertyValue(`--${name}`).trim();
    }
    theme.dark = matchMedia("(prefers-color-scheme: dark)").matches;
  }

  /** A colour that is legible on the background: dark ones are lightened on a dark one. */
  function legible(colour) {
    if (!theme.dark) return colour;
    const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const light = 0.3 * parts[0] + 0.6 * parts[1] + 0.1 * parts[2];
    const share = Math.max(0, Math.min(0.65, (150 - light) / 120));
    return `rgb(${parts.map((part) => Math.round(part + (255 - part) * share)).join(",")})`;
  }

  function stroke(points, colour, width, dash) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash || []);
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
  }

  function drawGround(project) {
    const cell = [0.5, 1, 2, 5, 10, 20, 50].find((c) => c * 8 > view.distance) || 100;
    const middle = target();
    const reach = cell * GROUND_CELLS;
    const first = middle.map((value) => Math.floor((value - reach) / cell) * cell);
    for (let axis = 0; axis < 2; axis += 1) {
      for (let line = 0; line <= 2 * GROUND_CELLS + 1; line += 1) {
        let before = null;
        for (let piece = 0; piece <= 2 * GROUND_CELLS + 1; piece += 1) {
          const point = [0, 0, 0];
          point[axis] = first[axis] + line * cell;
          point[1 - axis] = first[1 - axis] + piece * cell;
          const now = project(point);
          const far = Math.hypot(point[0] - middle[0], point[1] - middle[1]) / reach;
          context.globalAlpha = Math.max(0, Math.min(1, 1.1 - far));
          if (before && now && context.globalAlpha > 0.02) stroke([before, now], theme.grid, 1);
          before = now;
        }
      }
    }
    context.globalAlpha = 1;
    return cell;
  }

  /** What there is to draw of a person in this frame: joints and bones on the screen. */
  function onScreen(person, project) {
    const joints = [];
    for (let joint = 0; joint < person.joints; joint += 1) {
      const place = jointAt(person, frame, joint);
      const at = place && project(place);
      const state = person.state[frame * person.joints + joint];
      joints.push(at && state !== EMPTY ? { person, joint, place, at, state } : null);
    }
    const bones = [];
    person.parents.forEach((parent, joint) => {
      if (parent >= 0 && joints[joint] && joints[parent]) {
        const depth = (joints[joint].at[2] + joints[parent].at[2]) / 2;
        bones.push({ from: joints[parent], to: joints[joint], depth });
      }
    });
    return { joints: joints.filter(Boolean), bones };
  }

  function drawShadow(bones, project) {
    for (const { from, to } of bones) {
      const ends = [from, to].map(({ place }) => project([place[0], place[1], 0]));
      if (ends[0] && ends[1]) stroke(ends, theme.shadow, boneWidth(ends[0][2]) * 1.2);
    }
  }

  function boneWidth(depth) {
    const { width, height } = viewSize();
    return Math.max(3, Math.min(14, 0.024 * PERSPECTIVE * Math.min(width, height) / depth));
  }

  function drawBone({ from, to, depth }) {
    const width = boneWidth(depth);
    const dash = (stateOf.get(to.state) || {}).dash;
    stroke([from.at, to.at], theme.halo, width + 2.5);
    const pattern = dash && dash.map((length) => length * width);
    stroke([from.at, to.at], legible(to.person.colours[to.joint]), width, pattern);
  }

  function drawJoint({ person, joint, at, state }) {
    const { colour } = stateOf.get(state) || {};
    const radius = boneWidth(at[2]) * (colour ? 1.05 : 0.75);
    for (const [r, fill] of [[radius + 1.2, theme.halo],
      [radius, legible(colour || person.colours[joint])]]) {
      context.fillStyle = fill;
      context.beginPath();
      context.arc(at[0], at[1], r, 0, 2 * Math.PI);
      context.fill();
    }
  }

  function drawName(person, joints) {
    const top = joints.reduce((best, joint) => (joint.at[1] < best.at[1] ? joint : best));
    context.textAlign = "center";
    context.font = "14px system-ui, sans-serif";
    context.lineWidth = 3;
    context.setLineDash([]);
    context.strokeStyle = theme.halo;
    context.fillStyle = theme.text;
    context.strokeText(person.name, top.at[0], top.at[1] - 14);
    context.fillText(person.name, top.at[0], top.at[1] - 14);
  }

  /** Draw a frame. */
  function draw(newFrame) {
    frame = newFrame;
    const { width, height } = viewSize();
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio)
      || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = theme.back;
    context.fillRect(0, 0, width, height);
    context.lineCap = "round";
    const project = projector(target());
    drawGround(project);
    const visible = people.filter((person) => person.shown)
      .map((person) => ({ person, ...onScreen(person, project) }));
    visible.forEach(({ bones }) => drawShadow(bones, project));
    const bones = visible.flatMap((person) => person.bones);
    bones.sort((a, b) => b.depth - a.depth).forEach(drawBone);
    drawn = visible.flatMap((person) => person.joints).sort((a, b) => b.at[2] - a.at[2]);
    drawn.forEach(drawJoint);
    if (people.length > 1) {
      visible.filter(({ joints }) => joints.length)
        .forEach(({ person, joints }) => drawName(person, joints));
    }
  }

  readTheme();
  reset();
  return {
    people, times, view, stateOf, theme, frameAt, reset, turn, zoom, pan, jointNear, stateWithin,
    readTheme, legible, draw, isEmpty: () => !drawn.length,
  };
}
