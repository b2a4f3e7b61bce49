// Playing and turning recordings; a page has `shown`, `time`, `last`, `playing`, `yaw`, `pitch`, `zoom`,
// `FRAMES_PER_SECOND`, and functions `choose`, `draw` and `resetView`.
function tick(now) {
  if (playing) {
    const rate = FRAMES_PER_SECOND / shown.stride * Number(at("speed").value);
    time = (time + Math.min(now - last, 100) / 1000 * rate) % shown.frames.length;
  }
  last = now;
  draw();
  requestAnimationFrame(tick);
}

function play(on) { playing = on; at("play").textContent = on ? "Pause" : "Play"; }
function step(by) { play(false); time = (Math.floor(time) + by + shown.frames.length) % shown.frames.length; }

function turnWith(canvas) {
  canvas.onpointerdown = (event) => canvas.setPointerCapture(event.pointerId);
  canvas.onpointermove = (event) => {
    if (!event.buttons) return;
    yaw += event.movementX / 150;
    pitch = Math.max(-1.5, Math.min(1.5, pitch + event.movementY / 150));
  };
  canvas.onwheel = (event) => {
    event.preventDefault();
    zoom = Math.max(0.3, Math.min(8, zoom * Math.exp(-event.deltaY / 800)));
  };
}

DATA.recordings.forEach((recording, number) => at("recording").add(new Option(recording.title, number)));
at("recording").onchange = (event) => choose(Number(event.target.value));
at("reset").onclick = resetView;
at("play").onclick = () => play(!playing);
at("frame").oninput = (event) => { play(false); time = Number(event.target.value); };
addEventListener("keydown", (event) => {
  if (event.target.matches("select, input, button")) return;
  if (event.key === " ") { event.preventDefault(); play(!playing); }
  if (event.key === "ArrowRight") step(1);
  if (event.key === "ArrowLeft") step(-1);
});
if (matchMedia("(prefers-reduced-motion: reduce)").matches) play(false);
