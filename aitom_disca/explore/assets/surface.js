/* Turning surfaces of averages. One WebGL context draws them all, since browsers allow only about
   sixteen: each is drawn off the screen and copied to the canvas of its card. */
(function () {
  "use strict";
  const VERTEX = `
    attribute vec3 place; attribute vec3 normal; uniform mat3 turn; uniform float aspect;
    varying vec3 n; varying float depth;
    void main() {
      vec3 p = turn * place; n = turn * normal; depth = p.z;
      gl_Position = vec4(p.x * 0.94 / aspect, p.y * 0.94, -p.z * 0.9, 1.0);
    }`;
  const FRAGMENT = `
    precision mediump float; uniform vec3 colour; varying vec3 n; varying float depth;
    void main() {
      vec3 unit = normalize(n); vec3 light = normalize(vec3(-0.45, 0.6, 0.66));
      float diffuse = max(dot(unit, light), 0.0);
      float gloss = pow(max(dot(unit, normalize(light + vec3(0.0, 0.0, 1.0))), 0.0), 18.0);
      float shade = (0.34 + 0.72 * diffuse) * (0.82 + 0.18 * depth);
      gl_FragColor = vec4(colour * shade + 0.3 * gloss * diffuse, 1.0);
    }`;
  const STEP = 0.15, SPEED = 0.35; // radians a key, radians a second
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const shown = new Map(); // canvas -> what is drawn on it
  let gl = null, program = null, off = null, last = 0, running = false;

  function start() {
    off = document.createElement("canvas");
    gl = off.getContext("webgl2", { alpha: true, antialias: true, premultipliedAlpha: true });
    if (!gl) return false;
    program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    return true;
  }

  function buffer(target, values) {
    const made = gl.createBuffer();
    gl.bindBuffer(target, made);
    gl.bufferData(target, values, gl.STATIC_DRAW);
    return made;
  }

  async function load(one) {
    const answer = await fetch(one.canvas.dataset.mesh);
    if (!answer.ok) { one.canvas.hidden = true; return; }
    const bytes = await answer.arrayBuffer();
    const [n, m] = new Uint32Array(bytes, 0, 2);
    one.count = 3 * m;
    one.faces = buffer(gl.ELEMENT_ARRAY_BUFFER, new Uint32Array(bytes, 8, 3 * m));
    const places = new Float32Array(new Int16Array(bytes, 8 + 12 * m, 3 * n)).map((x) => x / 30000);
    one.places = buffer(gl.ARRAY_BUFFER, places);
    one.normals = buffer(gl.ARRAY_BUFFER, new Int8Array(bytes, 8 + 12 * m + 6 * n, 3 * n));
    draw(one);
  }

  // columns of: turned by `one.across` about the upright axis, then tilted by `one.over`
  function turning(one) {
    const [c, s, d, t] = [Math.cos(one.across), Math.sin(one.across), Math.cos(one.over), Math.sin(one.over)];
    return [c, s * t, -s * d, 0, d, t, s, -c * t, c * d];
  }

  function draw(one) {
    if (!one.count) return;
    const scale = Math.min(devicePixelRatio || 1, 2);
    const w = Math.max(1, Math.round(one.canvas.clientWidth * scale));
    const h = Math.max(1, Math.round(one.canvas.clientHeight * scale));
    if (one.canvas.width !== w || one.canvas.height !== h) { one.canvas.width = w; one.canvas.height = h; }
    if (off.width !== w || off.height !== h) { off.width = w; off.height = h; }
    gl.viewport(0, 0, w, h);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    for (const [name, held, kind, unit] of [["place", one.places, gl.FLOAT, false], ["normal", one.normals, gl.BYTE, true]]) {
      const at = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, held);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 3, kind, unit, 0, 0);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, one.faces);
    gl.uniformMatrix3fv(gl.getUniformLocation(program, "turn"), false, turning(one));
    gl.uniform1f(gl.getUniformLocation(program, "aspect"), w / h);
    gl.uniform3fv(gl.getUniformLocation(program, "colour"), one.colour);
    gl.drawElements(gl.TRIANGLES, one.count, gl.UNSIGNED_INT, 0);
    const flat = one.canvas.getContext("2d");
    flat.clearRect(0, 0, w, h);
    flat.drawImage(off, 0, 0);
  }

  function tick(now) {
    const seconds = Math.min((now - last) / 1000, 0.1);
    last = now;
    let any = false;
    for (const one of shown.values()) {
      if (!one.turns || !one.seen) continue;
      one.across += SPEED * seconds;
      draw(one);
      any = true;
    }
    running = any;
    if (any) requestAnimationFrame(tick);
  }

  function go() {
    if (running) return;
    running = true;
    last = performance.now();
    requestAnimationFrame(tick);
  }

  const sight = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const one = shown.get(entry.target);
      if (!one) continue;
      one.seen = entry.isIntersecting;
      if (one.seen && !one.asked) { one.asked = true; load(one); } else if (one.seen) draw(one);
    }
  });
  const size = new ResizeObserver((entries) => {
    for (const entry of entries) if (shown.has(entry.target)) draw(shown.get(entry.target));
  });

  function add(canvas) {
    if (!gl && !start()) { canvas.hidden = true; return; }
    const number = parseInt(canvas.dataset.colour.slice(1), 16);
    const colour = [16, 8, 0].map((bits) => ((number >> bits) & 255) / 255);
    const one = { canvas, colour, across: 0.5, over: 0.45, turns: false, seen: false, asked: false, count: 0 };
    shown.set(canvas, one);
    sight.observe(canvas);
    size.observe(canvas);
    canvas.addEventListener("pointerenter", () => { one.turns = !calm.matches; go(); });
    canvas.addEventListener("pointerleave", () => { one.turns = false; });
    canvas.addEventListener("pointerdown", (event) => { one.turns = false; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      one.across += event.movementX / 90;
      one.over += event.movementY / 90;
      draw(one);
    });
    canvas.addEventListener("keydown", (event) => {
      const turned = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
      if (!turned) return;
      event.preventDefault();
      one.across += turned[0];
      one.over += turned[1];
      draw(one);
    });
  }

  function remove(one) {
    sight.unobserve(one.canvas);
    size.unobserve(one.canvas);
    for (const held of [one.faces, one.places, one.normals]) if (held) gl.deleteBuffer(held);
    shown.delete(one.canvas);
  }

  new MutationObserver(() => {
    for (const one of [...shown.values()]) if (!one.canvas.isConnected) remove(one);
    for (const canvas of document.querySelectorAll("canvas[data-mesh]")) if (!shown.has(canvas)) add(canvas);
  }).observe(document, { childList: true, subtree: true });
})();
