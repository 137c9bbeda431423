Three passes and a number format in one function, one loop over rows; 8 lanes, each a group of four weights.

CHECK-LABEL: define void @kernel_0(
CHECK:       {{^}}row:
CHECK:       icmp slt i64 %{{.*}}, 256
CHECK:       fmul float
CHECK-NEXT:  load float
CHECK-NEXT:  fadd float

prune.outliers: bf16 from memory that nothing else writes; clamp to 2.5 times s, with NaN as it is

CHECK:       fdiv float %{{.*}}, 2.560000e+02
CHECK-NEXT:  [[S:%.*]] = call float @llvm.sqrt.f32(float
CHECK:       icmp slt i64 %{{lanes.*}}, 8
CHECK:       load <32 x i16>, ptr %{{.*}}, align 2, !alias.scope [[IN:![0-9]+]], !noalias [[OUT:![0-9]+]]
CHECK-COUNT-4: shufflevector <32 x float> %{{.*}}, <32 x float> poison, <8 x i32>
CHECK:       fmul float -2.500000e+00,
CHECK:       fcmp ogt <8 x float>
CHECK-NEXT:  select <8 x i1>
CHECK-NEXT:  fcmp uno <8 x float>
CHECK:       fmul float 2.500000e+00,

prune.nm: the ranks of four by comparing each with each, then a mask

CHECK-COUNT-6: icmp slt <8 x i32>
CHECK-COUNT-4: icmp slt <8 x i32> %{{.*}}, <i32 2, i32 2,{{.*}}>
CHECK-COUNT-4: select <8 x i1> %{{.*}}, <8 x float> zeroinitializer, <8 x float>

ternary: the scale, the codes, four to a byte

CHECK:       icmp slt i64 %{{loop.*}}, 4
CHECK:       call float @llvm.fabs.f32(float
CHECK:       fdiv float %{{.*}}, 6.400000e+01
CHECK-NEXT:  fptrunc float %{{.*}} to half
CHECK:       fcmp oeq float %{{.*}}, 0.000000e+00
CHECK:       call <64 x float> @llvm.roundeven.v64f32(
CHECK:       fptosi <64 x float> %{{.*}} to <64 x i32>
CHECK:       or <16 x i32>
CHECK:       or <16 x i32>
CHECK:       or <16 x i32>
CHECK-NEXT:  trunc <16 x i32> %{{.*}} to <16 x i8>
CHECK:       store <16 x i8> %{{.*}}, ptr %{{.*}}, align 1, !alias.scope
CHECK:       store i16 %{{.*}}, ptr %{{.*}}, align 2, !alias.scope

the error, in f64, of what was read against what was written

CHECK:       fsub float
CHECK-NEXT:  fpext float %{{.*}} to double
CHECK:       fmul double
CHECK:       store double %{{.*}}, ptr %{{.*}}, align 8, !alias.scope
CHECK:       store double %{{.*}}, ptr %{{.*}}, align 8, !alias.scope
CHECK:       br label %row
CHECK-NEXT:  {{^}}}
