(** What the checker of zetaplan.certificate/1 accepts is true. *)

From Coq Require Import ZArith QArith Qround Qreals Reals String List Lra Lia.
From Zetaplan Require Import Json Claim Sums Separable Tangents Programs Exact Layers.
Import ListNotations.
Open Scope R_scope.

Ltac split_ands H := repeat (apply andb_prop in H; let H' := fresh H in destruct H as [H H']).

Lemma sign_real p : Q2R (sign_of p) = sign p.
Proof. destruct p; cbn; [exact real_1| |]; unfold Q2R; cbn; lra. Qed.

Lemma two_real : Q2R 2 = 2.
Proof. unfold Q2R. cbn. lra. Qed.

Lemma nonzero q : Q2R q <> 0 -> ~ (q == 0)%Q.
Proof. intros H E. apply H. rewrite (Qeq_eqR _ _ E). exact real_0. Qed.

Lemma steepness_real p s w v : domain p (Q2R v) -> Q2R (steepness_of p s w v) = steepness p (Q2R s) (Q2R w) (Q2R v).
Proof.
  intro D. destruct p; cbn [steepness_of steepness domain] in *.
  - rewrite Q2R_div, Q2R_opp, Q2R_mult, Q2R_plus, real_1; [reflexivity|].
    apply nonzero. rewrite Q2R_plus, real_1. lra.
  - now rewrite !Q2R_mult, two_real.
  - rewrite Q2R_div, Q2R_mult, Q2R_minus, real_1; [reflexivity|].
    apply nonzero. rewrite Q2R_minus, real_1. lra.
Qed.

Lemma rise_real p s w a : 0 < Q2R s * Q2R w -> Q2R (rise_of p s w a) = rise p (Q2R s) (Q2R w) (Q2R a).
Proof.
  intro P. destruct p; cbn [rise_of rise].
  - now rewrite Q2R_mult.
  - rewrite Q2R_div, !Q2R_mult, two_real; [reflexivity|]. apply nonzero. rewrite !Q2R_mult, two_real. lra.
  - now rewrite Q2R_opp, Q2R_mult.
Qed.

Lemma offset_real p a : Q2R (offset_of p a) = offset p (Q2R a).
Proof. destruct p; cbn; [apply Q2R_opp|exact real_0|reflexivity]. Qed.

Lemma power_real p total : 0 < Q2R total -> Q2R (power_of p total) = power p (Q2R total).
Proof.
  intro P. unfold power_of. destruct (Qeq_bool total 0) eqn:E.
  - apply eq_real in E. rewrite real_0 in E. lra.
  - destruct p; cbn; try reflexivity; apply Q2R_inv, nonzero; lra.
Qed.

Lemma below_real l v : below_cap l v = true -> match upper l with Some h => Q2R v <= Q2R h | None => True end.
Proof. unfold below_cap. destruct (upper l); [apply le_real|auto]. Qed.

Lemma each_ok {A} (f : A -> outcome unit) l : each f l = Ok tt -> forall a, In a l -> f a = Ok tt.
Proof.
  induction l as [|b l IH]; intros H a I; [contradiction|]. cbn in H. apply bind_ok in H as [[] [H K]].
  destruct I as [->|I]; auto.
Qed.

Section Accepted.

Variable c : certificate.

Notation p := (kind c).
Notation s := (Q2R (strength c)).
Notation d := (Q2R (declared c)).
Notation m := (Q2R (multiplier c)).
Notation W k := (Q2R (weight (layer_at c k))).
Notation A k := (Q2R (cost (layer_at c k))).

Hypothesis strong : 0 < s.
Hypothesis paid : 0 <= d.
Hypothesis sound : forall k, (k < K c)%nat -> sound_data c (layer_at c k) = true.
Hypothesis m_nonneg : 0 <= m.

Definition total := total_price c.
Definition q := power_of p total.

Lemma total_real : Q2R total = d + m.
Proof. unfold total, total_price. rewrite (Qeq_eqR _ _ (reduce_exact _)). apply Q2R_plus. Qed.

Lemma data k : (k < K c)%nat -> 0 <= W k /\ 0 < A k /\ 0 <= Q2R (lower (layer_at c k)) /\
  inside c k (Q2R (lower (layer_at c k))) /\ forall v, inside c k v -> domain p v.
Proof.
  intro N. pose proof (sound k N) as H. unfold sound_data in H. apply andb_prop in H as [H T].
  apply andb_prop in H as [H U]. apply andb_prop in H as [H L]. apply andb_prop in H as [H C].
  apply le_real in H. apply le_real in L. apply less_real in C. apply below_real in U. rewrite real_0 in *.
  split; [exact H|split; [exact C|split; [exact L|split]]].
  - split; [lra|exact U].
  - intros v [V1 V2]. unfold domain. destruct p; [lra|exact I|].
    destruct (upper (layer_at c k)); [|discriminate]. apply less_real in T. rewrite real_1 in T. lra.
Qed.

Lemma lies_above k u v : (k < K c)%nat -> inside c k u -> inside c k v ->
  loss c k u + loss_slope c k u * (v - u) <= loss c k v.
Proof.
  intros N U V. destruct (data k N) as (Wk & _ & _ & _ & D). apply value_tangent; auto. nra.
Qed.

Lemma gradient_real k v : (k < K c)%nat -> inside c k (Q2R v) -> forall t,
  Q2R (gradient c (layer_at c k) v t) = steepness p s (W k) (Q2R v) + sign p * A k * Q2R t.
Proof.
  intros N V t. destruct (data k N) as (_ & _ & _ & _ & D). unfold gradient.
  rewrite Q2R_plus, !Q2R_mult, sign_real, steepness_real; [reflexivity|auto].
Qed.

(** The slope of the Lagrangian at the multiplier of the certificate. *)
Lemma g_real k v : (k < K c)%nat -> inside c k (Q2R v) ->
  loss_slope c k (Q2R v) + m * signed_cost c k = Q2R (gradient c (layer_at c k) v total).
Proof.
  intros N V. rewrite gradient_real by assumption. rewrite total_real.
  unfold loss_slope, slope, signed_cost. ring.
Qed.

Definition star (k : nat) : R := Q2R (optimum c (layer_at c k) q).

Lemma optimum_real k t : (k < K c)%nat -> Q2R (optimum c (layer_at c k) t) =
  (Q2R (fst (line c (layer_at c k))) * Q2R t + Q2R (snd (line c (layer_at c k)))) / A k.
Proof.
  intro N. destruct (data k N) as (_ & P & _). unfold optimum.
  rewrite Q2R_div, Q2R_plus, Q2R_mult; [reflexivity|]. apply nonzero. lra.
Qed.

Lemma star_bound k b : (k < K c)%nat -> bound (layer_at c k) = Some b -> star k = Q2R b.
Proof.
  intros N B. destruct (data k N) as (_ & P & _). unfold star. rewrite optimum_real by exact N.
  unfold line. rewrite B. cbn [fst snd]. rewrite Q2R_mult, real_0. field. lra.
Qed.

Hypothesis fixed : forall k, (k < K c)%nat -> stationary_layer c total q (layer_at c k) = Ok tt.

Lemma star_interior k : (k < K c)%nat -> stands (layer_at c k) = Interior ->
  inside c k (star k) /\ loss_slope c k (star k) + m * signed_cost c k = 0.
Proof.
  intros N I. pose proof (fixed k N) as H. unfold stationary_layer in H. rewrite I in H.
  apply need_ok in H. apply andb_prop in H as [H U]. apply andb_prop in H as [H L]. apply andb_prop in H as [T Wk].
  apply less_real in T. apply less_real in Wk. apply le_real in L. apply below_real in U. rewrite real_0 in *.
  split; [split; [exact L|exact U]|].
  destruct (data k N) as (_ & P & _). pose proof (Rmult_lt_0_compat _ _ strong Wk) as SW.
  assert (E : star k = root p s (W k) (A k) (Q2R total)).
  { unfold star. rewrite optimum_real by exact N. unfold line, bound. rewrite I. cbn [fst snd].
    rewrite rise_real, offset_real by exact SW. unfold q. rewrite power_real by exact T. reflexivity. }
  rewrite E. pose proof (root_stationary p s d (W k) (A k) (Q2R total) SW P T) as R0.
  specialize (R0 ltac:(lra)). unfold loss_slope, signed_cost. rewrite total_real in *.
  replace (d + m - d) with m in R0 by ring. exact R0.
Qed.

Lemma star_inside k : (k < K c)%nat -> inside c k (star k).
Proof.
  intro N. destruct (data k N) as (_ & _ & _ & F & _). destruct (stands (layer_at c k)) eqn:E.
  - now apply star_interior.
  - rewrite (star_bound k (lower (layer_at c k)) N); [exact F|]. unfold bound. now rewrite E.
  - pose proof (fixed k N) as H. unfold stationary_layer in H. rewrite E in H.
    destruct (upper (layer_at c k)) as [h|] eqn:U; [|discriminate].
    rewrite (star_bound k h N) by (unfold bound; now rewrite E).
    unfold inside, inside_layer in *. rewrite U in *. destruct F as [F1 F2]. split; [exact F2|lra].
Qed.

Lemma star_stationary : stationary (K c) (loss_slope c) (signed_cost c) (inside c) m star.
Proof.
  intros k v N V. unfold g. destruct (stands (layer_at c k)) eqn:E.
  - destruct (star_interior k N E) as [_ Z]. rewrite Z. lra.
  - pose proof (fixed k N) as H. unfold stationary_layer in H. rewrite E in H. apply need_ok, le_real in H.
    destruct (data k N) as (_ & _ & _ & F & _). rewrite real_0 in H.
    rewrite (star_bound k (lower (layer_at c k)) N) by (unfold bound; now rewrite E).
    rewrite g_real by assumption. destruct V as [V _]. apply Rmult_le_pos; lra.
  - pose proof (fixed k N) as H. pose proof (star_inside k N) as S0. unfold stationary_layer in H. rewrite E in H.
    destruct (upper (layer_at c k)) as [h|] eqn:U; [|discriminate]. apply need_ok, le_real in H. rewrite real_0 in H.
    assert (B : star k = Q2R h) by (apply (star_bound k h N); unfold bound; now rewrite E).
    rewrite B in *. rewrite g_real by assumption.
    destruct V as [_ V]. rewrite U in V. nra.
Qed.

Definition spent : Q :=
  total_of (map fst (map (line c) (layers c))) * q + total_of (map snd (map (line c) (layers c))).

Lemma use_star : use (K c) (signed_cost c) star = sign p * Q2R spent.
Proof.
  unfold spent. rewrite Q2R_plus, Q2R_mult, !(Qeq_eqR _ _ (total_exact _)), !map_map.
  rewrite !(sum_of_real _ _ nothing), (Rmult_comm (sum _ _) (Q2R q)), <- sum_scaled, <- sum_plus, <- sum_scaled.
  unfold use. apply sum_ext. intros k N. unfold star. rewrite optimum_real by exact N.
  destruct (data k N) as (_ & P & _). unfold signed_cost, layer_at in *. field. lra.
Qed.

Hypothesis kept : (0 <= Q2R (sign_of p * (limit c - spent)))%R.
Hypothesis slack : Q2R spent = Q2R (limit c) \/ m = 0.

Theorem star_conditions :
  conditions (K c) (loss_slope c) (signed_cost c) (signed_limit c) (inside c) m star.
Proof.
  split; [exact m_nonneg|split; [split|split; [exact star_stationary|]]].
  - exact star_inside.
  - rewrite use_star. rewrite Q2R_mult, Q2R_minus, sign_real in kept. unfold signed_limit. lra.
  - destruct slack as [E|E]; [right|left; exact E]. rewrite use_star, E. reflexivity.
Qed.

Theorem star_optimal : optimal (K c) (loss c) (signed_cost c) (signed_limit c) (inside c) star.
Proof. eapply Separable.certificate; [exact lies_above|exact star_conditions]. Qed.

(** ** Distances and the gap *)

Hypothesis plan_inside : forall k, (k < K c)%nat -> inside c k (x c k).
Variables low high : Q.
Notation q1 := (power_of p low).
Notation q2 := (power_of p high).
Hypothesis bracket : Q2R low <= Q2R total <= Q2R high.
Hypothesis q_between : Rmin (Q2R q1) (Q2R q2) <= Q2R q <= Rmax (Q2R q1) (Q2R q2).

Lemma off_real k : (k < K c)%nat -> Rabs (x c k - star k) <= Q2R (off c (layer_at c k) q1 q2).
Proof.
  intro N. destruct (data k N) as (_ & P & _). unfold off.
  rewrite largest_real, !size_of_real, !Q2R_minus. unfold star. rewrite !optimum_real by exact N.
  set (S0 := Q2R (fst _)). set (A0 := Q2R (snd _)). unfold x. set (x0 := Q2R (planned _)).
  assert (shape : forall t, x0 - (S0 * t + A0) / A k = (x0 - A0 / A k) + - (S0 / A k) * t) by (intro t; field; lra).
  rewrite !shape. now apply line_between.
Qed.

Lemma steepest_real k : (k < K c)%nat ->
  Rabs (g (loss_slope c) (signed_cost c) m (x c) k) <= Q2R (steepest c (layer_at c k) low high).
Proof.
  intro N. unfold g. unfold x. rewrite g_real by (try exact N; exact (plan_inside k N)). unfold steepest.
  rewrite largest_real, !size_of_real, !gradient_real by (try exact N; exact (plan_inside k N)).
  apply line_between. rewrite Rmin_left, Rmax_right by lra. exact bracket.
Qed.

Lemma off_nonneg l a b : 0 <= Q2R (off c l a b).
Proof.
  unfold off. rewrite largest_real, size_of_real. eapply Rle_trans; [apply Rabs_pos|apply Rmax_l].
Qed.

Lemma free_real k : ~ free c k -> W k <> 0 \/ Q2R total <> 0.
Proof.
  intro F. destruct (Req_dec (W k) 0) as [E|E]; [right|left; exact E]. rewrite total_real. intro Z. now apply F.
Qed.

Lemma one_value k y : optimal (K c) (loss c) (signed_cost c) (signed_limit c) (inside c) y -> (k < K c)%nat ->
  ~ free c k -> y k = star k.
Proof.
  intros O N F. eapply unique; [exact lies_above|exact star_conditions|exact O|exact N|].
  destruct (data k N) as (Wk & P & _ & _ & D). destruct (Req_dec (W k) 0) as [E|E].
  - right. destruct (free_real k F) as [X|T]; [contradiction|]. unfold g, loss_slope, slope, signed_cost.
    assert (Z : steepness p s (W k) (star k) = 0) by (rewrite E; destruct p; cbn; unfold Rdiv; ring).
    rewrite Z. rewrite total_real in T.
    replace (0 + d * (sign p * A k) + m * (sign p * A k)) with ((d + m) * (sign p * A k)) by ring.
    apply Rmult_integral_contrapositive. split; [exact T|]. apply Rmult_integral_contrapositive.
    split; [destruct p; cbn; lra|lra].
  - left. intros u v U V ne. apply value_tangent_strictly; auto. nra.
Qed.

Definition excess : Q := sign_of p * (total_of (map (fun l => cost l * planned l)%Q (layers c)) - limit c).

Lemma excess_real : Q2R excess = use (K c) (signed_cost c) (x c) - signed_limit c.
Proof.
  unfold excess. rewrite Q2R_mult, Q2R_minus, sign_real, (Qeq_eqR _ _ (total_exact _)), (sum_of_real _ _ nothing).
  unfold use, signed_limit. rewrite Rmult_minus_distr_l, <- sum_scaled. f_equal. apply sum_ext. intros k N.
  rewrite Q2R_mult. unfold signed_cost, x, layer_at. ring.
Qed.

Definition terms : list Q := map (fun l => off c l q1 q2 * steepest c l low high)%Q (layers c).
Definition unused_part : Q := ((high - total + multiplier c) * largest (- excess) 0)%Q.

Hypothesis small : Q2R (inject_Z (ceilings GRID (unused_part :: terms))) <= Q2R (gap c * GRID).

Lemma grid_positive : 0 < Q2R GRID.
Proof.
  rewrite <- real_0. apply Qlt_Rlt. unfold GRID. change 0%Q with (inject_Z 0). rewrite <- Zlt_Qlt.
  vm_compute. reflexivity.
Qed.

Lemma terms_real : sum (K c) (fun k => Q2R (off c (layer_at c k) q1 q2) * Q2R (steepest c (layer_at c k) low high))
  + Q2R unused_part <= Q2R (gap c).
Proof.
  pose proof (Qle_Rle _ _ (ceilings_above GRID (unused_part :: terms))) as H.
  rewrite Q2R_mult in H, small. assert (L : Q2R (sum_of (unused_part :: terms)) <= Q2R (gap c)).
  { apply (Rmult_le_reg_r (Q2R GRID)); [exact grid_positive|]. eapply Rle_trans; [exact H|].
    rewrite <- Q2R_mult in *. exact small. }
  cbn [sum_of fold_right] in L. fold (sum_of terms) in L. rewrite Q2R_plus in L. unfold terms in L.
  rewrite (sum_of_real _ _ nothing) in L. fold (K c) in L.
  rewrite (sum_ext (K c) _ (fun k => Q2R (off c (nth k (layers c) nothing) q1 q2 * steepest c (nth k (layers c) nothing) low high)%Q)).
  - lra.
  - intros k _. now rewrite Q2R_mult.
Qed.

Theorem gap_real y : feasible (K c) (signed_cost c) (signed_limit c) (inside c) y ->
  objective (K c) (loss c) (x c) - objective (K c) (loss c) y <= Q2R (gap c).
Proof.
  intro F. pose proof (proj2 star_optimal y F) as O.
  pose proof (Separable.gap _ _ _ _ _ _ m (x c) star lies_above star_conditions plan_inside) as G.
  assert (B : sum (K c) (fun k => Rabs (g (loss_slope c) (signed_cost c) m (x c) k) * Rabs (x c k - star k))
    <= sum (K c) (fun k => Q2R (off c (layer_at c k) q1 q2) * Q2R (steepest c (layer_at c k) low high))).
  { apply sum_le. intros k N. rewrite Rmult_comm. apply Rmult_le_compat; try apply Rabs_pos.
    - now apply off_real.
    - now apply steepest_real. }
  assert (U : m * Rmax (signed_limit c - use (K c) (signed_cost c) (x c)) 0 <= Q2R unused_part).
  { unfold unused_part. rewrite Q2R_mult, largest_real, real_0, Q2R_opp, excess_real, Q2R_plus, Q2R_minus.
    rewrite Ropp_minus_distr. apply Rmult_le_compat_r; [apply Rmax_r|]. lra. }
  pose proof terms_real. lra.
Qed.

End Accepted.

Lemma layers_each c (P : layer -> Prop) : (forall l, In l (layers c) -> P l) ->
  forall k, (k < K c)%nat -> P (layer_at c k).
Proof. intros H k N. apply H. now apply nth_In. Qed.

Theorem check_layers_sound c : check_layers c = Ok tt -> claim c.
Proof.
  unfold check_layers. intro H. apply bind_ok in H as [[] [P H]]. apply need_ok in P.
  apply andb_prop in P as [S0 D0]. apply less_real in S0. apply le_real in D0. rewrite real_0 in *.
  apply bind_ok in H as [[] [L H]]. apply need_ok in L. rewrite forallb_forall in L.
  pose proof (layers_each c _ L) as sound. cbv beta in sound. clear L.
  apply bind_ok in H as [[] [O H]]. unfold check_optimum in O.
  apply bind_ok in O as [[] [M O]]. apply need_ok, le_real in M. rewrite real_0 in M.
  apply bind_ok in O as [[] [F O]]. pose proof (layers_each c _ (each_ok _ _ F)) as fixed. cbv beta in fixed. clear F.
  apply bind_ok in O as [[] [kept slack]]. apply need_ok, le_real in kept. apply need_ok in slack. rewrite real_0 in kept.
  fold (total c) in *. fold (q c) in *. fold (spent c) in kept, slack.
  assert (slack' : Q2R (spent c) = Q2R (limit c) \/ Q2R (multiplier c) = 0).
  { apply orb_prop in slack as [E|E]; apply eq_real in E; [left; exact E|right; rewrite E; exact real_0]. }
  unfold check_plan in H. apply bind_ok in H as [[] [B H]]. apply need_ok in B. rewrite forallb_forall in B.
  assert (plan_inside : forall k, (k < K c)%nat -> inside c k (x c k)).
  { intros k N. pose proof (B (layer_at c k) (nth_In _ _ N)) as I. apply andb_prop in I as [I J].
    split; [now apply le_real|now apply below_real]. }
  clear B. fold (excess c) in H. apply bind_ok in H as [[] [C H]]. apply need_ok in C. apply andb_prop in C as [C _].
  apply le_real in C. rewrite excess_real in C.
  apply bind_ok in H as [[] [R0 H]]. apply need_ok in R0. apply andb_prop in R0 as [R0 _]. apply le_real in R0.
  rewrite size_of_real, Q2R_minus in R0.
  destruct (about (total c)) as [low high]. apply bind_ok in H as [[] [T H]]. apply need_ok in T.
  apply andb_prop in T as [T Bq]. apply andb_prop in T as [T1 T2]. apply le_real in T1. apply le_real in T2.
  unfold between in Bq. apply andb_prop in Bq as [B1 B2]. apply le_real in B1. apply le_real in B2.
  rewrite smallest_real in B1. rewrite largest_real in B2.
  apply bind_ok in H as [[] [near_all G]]. apply need_ok, le_real in G.
  pose proof (star_optimal c S0 sound M fixed kept slack') as best.
  pose proof (star_conditions c S0 sound M fixed kept slack') as cond.
  split; [exact plan_inside|split; [lra|split; [|split]]].
  - intros y Y. eapply gap_real; try eassumption; split; assumption.
  - intros y k Oy N NF. 
    assert (E : y k = star c k) by (eapply one_value; try eassumption; split; eassumption). rewrite E.
    assert (far : Rabs (x c k - star c k) <= Q2R (off c (layer_at c k) (power_of (kind c) low) (power_of (kind c) high)))
      by (apply off_real; try assumption; split; assumption).
    pose proof (each_ok _ _ near_all (layer_at c k) (nth_In _ _ N)) as near_k. unfold near in near_k.
    apply need_ok in near_k. apply orb_prop in near_k as [I|I].
    + apply andb_prop in I as [I _]. apply le_real in I. rewrite Q2R_mult, largest_real, real_1 in I.
      unfold x at 2. lra.
    + exfalso. apply andb_prop in I as [I J]. apply eq_real in I. apply eq_real in J. rewrite real_0 in *.
      rewrite (total_real c) in J. apply NF. split; assumption.
  - exists (Q2R (multiplier c)), (star c). split; [exact cond|split; [exact best|exact R0]].
Qed.
