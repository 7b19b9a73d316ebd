(** The objectives of the declared programs lie above their tangents, strictly where the layer has weight. *)

From Coq Require Import Reals Lra Lia.
Open Scope R_scope.

(** Where the derivative rises, the function is above its tangents. *)
Theorem rising_slope (f df : R -> R) (u v : R) :
  (forall x, Rmin u v <= x <= Rmax u v -> derivable_pt_lim f x (df x)) ->
  (forall x y, Rmin u v <= x -> x <= y -> y <= Rmax u v -> df x <= df y) ->
  f u + df u * (v - u) <= f v.
Proof.
  intros D M. destruct (Rtotal_order u v) as [L|[->|L]]; [| |].
  - rewrite Rmin_left, Rmax_right in * by lra.
    destruct (MVT_cor2 f df u v L D) as [x [E [A B]]]. pose proof (M u x). nra.
  - lra.
  - rewrite Rmin_right, Rmax_left in * by lra.
    destruct (MVT_cor2 f df v u L D) as [x [E [A B]]]. pose proof (M x u). nra.
Qed.

Theorem rising_slope_strictly (f df : R -> R) (u v : R) : u <> v ->
  (forall x, Rmin u v <= x <= Rmax u v -> derivable_pt_lim f x (df x)) ->
  (forall x y, Rmin u v <= x -> x < y -> y <= Rmax u v -> df x < df y) ->
  f u + df u * (v - u) < f v.
Proof.
  intros N D M. destruct (Rtotal_order u v) as [L|[->|L]]; [| |].
  - rewrite Rmin_left, Rmax_right in * by lra.
    destruct (MVT_cor2 f df u v L D) as [x [E [A B]]]. pose proof (M u x). nra.
  - lra.
  - rewrite Rmin_right, Rmax_left in * by lra.
    destruct (MVT_cor2 f df v u L D) as [x [E [A B]]]. pose proof (M x u). nra.
Qed.

(** ** The logarithm *)

Lemma ln_below u : 0 < u -> u <> 1 -> ln u < u - 1.
Proof.
  intros P N. rewrite <- (exp_ln u P) at 2. assert (ln u <> 0) by (intro E; apply N, ln_inv; rewrite ?ln_1; lra).
  pose proof (exp_ineq1 (ln u) H). lra.
Qed.

Theorem ln_tangent_strictly u v : 0 < u -> 0 < v -> u <> v -> ln v < ln u + (v - u) / u.
Proof.
  intros U V N. assert (Q : 0 < v / u) by (apply Rdiv_lt_0_compat; assumption).
  assert (D : v / u <> 1).
  { intro E. apply N. apply (Rmult_eq_reg_r (/ u)); [|apply Rinv_neq_0_compat; lra].
    rewrite Rinv_r by lra. symmetry. exact E. }
  pose proof (ln_below _ Q D) as L. unfold Rdiv in L at 1. rewrite ln_mult, ln_Rinv in L; [|auto using Rinv_0_lt_compat..].
  replace ((v - u) / u) with (v / u - 1) by (field; lra). lra.
Qed.

(** *** allocation: alpha c m - s log(1 + m), with s = gamma w >= 0 *)

Definition log_objective (s a : R) (x : R) : R := a * x - s * ln (1 + x).
Definition log_slope (s a : R) (x : R) : R := a - s / (1 + x).

Theorem log_tangent s a u v : 0 <= s -> 0 <= u -> 0 <= v ->
  log_objective s a u + log_slope s a u * (v - u) <= log_objective s a v.
Proof.
  intros P U V. unfold log_objective, log_slope. destruct (Req_dec u v) as [->|N]; [lra|].
  pose proof (ln_tangent_strictly (1 + u) (1 + v)) as T. replace (1 + v - (1 + u)) with (v - u) in T by ring.
  unfold Rdiv in *. nra.
Qed.

Theorem log_tangent_strictly s a u v : 0 < s -> 0 <= u -> 0 <= v -> u <> v ->
  log_objective s a u + log_slope s a u * (v - u) < log_objective s a v.
Proof.
  intros P U V N. unfold log_objective, log_slope.
  pose proof (ln_tangent_strictly (1 + u) (1 + v)) as T. replace (1 + v - (1 + u)) with (v - u) in T by ring.
  unfold Rdiv in *. nra.
Qed.

(** *** barrier pruning: a (1 - rho) - s log(1 - rho); [a] is the declared price times the size *)

Definition barrier_objective (s a : R) (x : R) : R := a * (1 - x) - s * ln (1 - x).
Definition barrier_slope (s a : R) (x : R) : R := - a + s / (1 - x).

Theorem barrier_tangent s a u v : 0 <= s -> u < 1 -> v < 1 ->
  barrier_objective s a u + barrier_slope s a u * (v - u) <= barrier_objective s a v.
Proof.
  intros P U V. unfold barrier_objective, barrier_slope. destruct (Req_dec u v) as [->|N]; [lra|].
  pose proof (ln_tangent_strictly (1 - u) (1 - v)) as T. replace (1 - v - (1 - u)) with (- (v - u)) in T by ring.
  unfold Rdiv in *. nra.
Qed.

Theorem barrier_tangent_strictly s a u v : 0 < s -> u < 1 -> v < 1 -> u <> v ->
  barrier_objective s a u + barrier_slope s a u * (v - u) < barrier_objective s a v.
Proof.
  intros P U V N. unfold barrier_objective, barrier_slope.
  pose proof (ln_tangent_strictly (1 - u) (1 - v)) as T. replace (1 - v - (1 - u)) with (- (v - u)) in T by ring.
  unfold Rdiv in *. nra.
Qed.

(** *** pruning: a (1 - rho) + s rho^2, strongly convex with constant 2 s *)

Definition square_objective (s a : R) (x : R) : R := a * (1 - x) + s * x ^ 2.
Definition square_slope (s a : R) (x : R) : R := - a + 2 * s * x.

Theorem square_tangent s a u v :
  square_objective s a u + square_slope s a u * (v - u) + (2 * s) / 2 * (v - u) ^ 2 = square_objective s a v.
Proof. unfold square_objective, square_slope. field. Qed.

(** *** exponential allocation: a m - s (1 - exp(-m)), and precision: w 4^-b *)

Theorem exp_tangent_strictly u v : u <> v -> exp u + exp u * (v - u) < exp v.
Proof.
  intro N. pose proof (exp_ineq1 (v - u) (fun E => N (eq_sym (Rminus_diag_uniq _ _ E)))) as H.
  replace (exp v) with (exp u * exp (v - u)) by (rewrite <- exp_plus; f_equal; ring).
  pose proof (exp_pos u). nra.
Qed.

(** s exp(-r x) for any rate r; for a base b it is r = log b. *)
Definition decay (s r : R) (x : R) : R := s * exp (- r * x).
Definition decay_slope (s r : R) (x : R) : R := - r * s * exp (- r * x).

Theorem decay_tangent_strictly s r u v : 0 < s -> r <> 0 -> u <> v ->
  decay s r u + decay_slope s r u * (v - u) < decay s r v.
Proof.
  intros P Q N. unfold decay, decay_slope.
  assert (D : - r * u <> - r * v) by (intro E; apply N, (Rmult_eq_reg_l (- r)); lra).
  pose proof (exp_tangent_strictly _ _ D). nra.
Qed.

Theorem precision_tangent_strictly w u v : 0 < w -> u <> v ->
  w * Rpower 4 (- u) + (- ln 4 * (w * Rpower 4 (- u))) * (v - u) < w * Rpower 4 (- v).
Proof.
  intros P N. unfold Rpower. assert (Q : ln 4 <> 0) by (pose proof (ln_lt_2); apply Rgt_not_eq;
    rewrite <- ln_1; apply ln_increasing; lra).
  pose proof (decay_tangent_strictly w (ln 4) u v P Q N) as H. unfold decay, decay_slope in H.
  replace (- u * ln 4) with (- ln 4 * u) by ring. replace (- v * ln 4) with (- ln 4 * v) by ring. lra.
Qed.

Theorem exponential_tangent_strictly s a u v : 0 < s -> u <> v ->
  (a * u - s * (1 - exp (- u))) + (a - s * exp (- u)) * (v - u) < a * v - s * (1 - exp (- v)).
Proof.
  intros P N. pose proof (decay_tangent_strictly s 1 u v P R1_neq_R0 N) as H. unfold decay, decay_slope in H.
  replace (- (1) * u) with (- u) in H by ring. replace (- (1) * v) with (- v) in H by ring. lra.
Qed.

(** *** powers x^p, convex for p > 1, concave for 0 < p < 1, at x > 0 *)

Lemma power_derivative p x : 0 < x -> derivable_pt_lim (fun x => Rpower x p) x (p * Rpower x (p - 1)).
Proof. intro P. now apply derivable_pt_lim_power. Qed.

Lemma between u v x : 0 < u -> 0 < v -> Rmin u v <= x -> 0 < x.
Proof. intros U V L. apply Rlt_le_trans with (Rmin u v); [|exact L]. now apply Rmin_glb_lt. Qed.

Theorem power_convex p u v : 1 < p -> 0 < u -> 0 < v -> u <> v ->
  Rpower u p + p * Rpower u (p - 1) * (v - u) < Rpower v p.
Proof.
  intros P U V N. apply (rising_slope_strictly (fun x => Rpower x p) (fun x => p * Rpower x (p - 1))); [exact N| |].
  - intros x [L _]. now apply power_derivative, (between u v).
  - intros x y L M _. apply Rmult_lt_compat_l; [lra|].
    unfold Rpower. apply exp_increasing, Rmult_lt_compat_l; [lra|].
    apply ln_increasing; [now apply (between u v)|exact M].
Qed.

Theorem power_concave p u v : 0 < p < 1 -> 0 < u -> 0 < v -> u <> v ->
  Rpower v p < Rpower u p + p * Rpower u (p - 1) * (v - u).
Proof.
  intros [P Q] U V N.
  enough (H : - Rpower u p + - (p * Rpower u (p - 1)) * (v - u) < - Rpower v p) by lra.
  apply (rising_slope_strictly (fun x => - Rpower x p) (fun x => - (p * Rpower x (p - 1)))); [exact N| |].
  - intros x [L _]. apply derivable_pt_lim_opp, power_derivative, (between u v); assumption.
  - intros x y L M _. apply Ropp_lt_contravar, Rmult_lt_compat_l; [lra|].
    unfold Rpower. apply exp_increasing.
    assert (ln x < ln y) by (apply ln_increasing; [now apply (between u v)|exact M]). nra.
Qed.

Lemma power_step p u : 0 < u -> Rpower u (p - 1) * u = Rpower u p.
Proof.
  intro P. rewrite <- (Rpower_1 u P) at 2. rewrite <- Rpower_plus. f_equal. ring.
Qed.

(** The values at 0, where the power is 0: toward 0 for both kinds, and from 0 where the slope there is 0. *)
Theorem power_convex_at_0 p u : 1 < p -> 0 < u ->
  Rpower u p + p * Rpower u (p - 1) * (0 - u) < 0 /\ 0 + 0 * (u - 0) < Rpower u p.
Proof.
  intros P U. assert (0 < Rpower u p) by apply exp_pos. pose proof (power_step p u U). split; nra.
Qed.

Theorem power_concave_at_0 p u : 0 < p < 1 -> 0 < u -> 0 < Rpower u p + p * Rpower u (p - 1) * (0 - u).
Proof.
  intros P U. assert (0 < Rpower u p) by apply exp_pos. pose proof (power_step p u U). nra.
Qed.
